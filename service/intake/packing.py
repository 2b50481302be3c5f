"""Callbacks and answers as stored records."""

import re
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

import orjson

from gateways.callback import NO_REQUEST, Callback
from gateways.gateway import Gateway
from gateways.outcome import Answer

_STRAY_BYTE = re.compile(r"[\udc80-\udcff]")


def pack_callback(callback: Callback, gateway: Gateway[Any]) -> bytes:
    """A callback as one record: a JSON line about it, then its body. Credentials are not kept.

    What headers are kept the `gateway` says.

    Nor is its id: that is the record's own, wherever it is kept.
    """
    about = {
        "method": callback.method,
        "query": _percent_encoded(callback.query),
        "headers": {
            name: _writable(callback.headers[name]) for name in gateway.headers_to_keep if name in callback.headers
        },
        "received_at": callback.received_at,
        "delivery_report": callback.is_delivery_report,
    }
    return orjson.dumps(about) + b"\n" + callback.body


def unpack_callback(packed: bytes, peer: IPv4Address | IPv6Address, request_id: UUID = NO_REQUEST) -> Callback:
    """The callback `pack_callback` packed, without its credentials; `peer` is who sent it."""
    head, _, body = packed.partition(b"\n")
    about = orjson.loads(head)
    return Callback(
        method=about["method"],
        query=about["query"],
        headers=about["headers"],
        body=body,
        peer=peer,
        received_at=datetime.fromisoformat(about["received_at"]),
        is_delivery_report=about["delivery_report"],
        request_id=request_id,
    )


def _percent_encoded(query: str) -> str:
    """`query` with the bytes in another encoding, which arrive as lone surrogates, as `%XX`: they mean the same."""
    if query.isascii():
        return query
    return _writable(_STRAY_BYTE.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", query))


def _writable(value: str) -> str:
    """`value` as UTF-8 can write it: bytes in another encoding arrive as lone surrogates, and become `?`."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def pack_answer(answer: Answer) -> bytes:
    """An answer as it is stored, to be repeated to the letter."""
    head = {"status": answer.status, "content_type": answer.content_type, "headers": answer.headers}
    return orjson.dumps(head) + b"\n" + answer.body


def unpack_answer(packed: bytes) -> Answer:
    """The answer `pack_answer` packed."""
    head, _, body = packed.partition(b"\n")
    fields = orjson.loads(head)
    return Answer(
        fields["status"], body, fields["content_type"], tuple((name, value) for name, value in fields["headers"])
    )
