"""Events of the `standard` protocol as a partner writes and signs them."""

import json
from typing import Any

from gateways.callback import Callback
from gateways.wire.signatures import sign, signing_key
from tests.gateways.calls import RECEIVED_AT, request

SECRET = "whsec_ZG9uYXRpb24tcG9ydGFsLXRlc3Qta2V5LTMyYnl0ZXM="
OTHER_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = str(int(RECEIVED_AT.timestamp()))


def signed(body: bytes, secret: str = SECRET, family: str = "webhook", at: str = NOW, **more: Any) -> Callback:
    """`body` as a partner posts it."""
    headers = {
        f"{family}-id": "msg_0001",
        f"{family}-timestamp": at,
        f"{family}-signature": sign(signing_key(secret), "msg_0001", at, body),
    }
    return request(body=body, headers=headers, **more)


def posted(payload: object, **more: Any) -> Callback:
    """`payload` as JSON, signed."""
    return signed(json.dumps(payload).encode(), **more)


def message(**changes: Any) -> dict[str, Any]:
    """A message event; a change to None leaves the field out."""
    data = {"message_id": "m-1", "msisdn": "84950000001", "short_code": "1408", "text": "VNN 5"} | changes
    return {"type": "message.received", "data": {name: value for name, value in data.items() if value is not None}}


def charge(status: str = "succeeded", **changes: Any) -> dict[str, Any]:
    """A charge event."""
    data = {"charge_id": "c-1", "amount": 100000, "currency": "VND"} | changes
    return {"type": f"charge.{status}", "data": {name: value for name, value in data.items() if value is not None}}


def reversal(**changes: Any) -> dict[str, Any]:
    """A reversal event."""
    data = {"reversal_id": "r-1", "amount": 20000, "charge_id": "c-1"} | changes
    return {"type": "charge.reversed", "data": {name: value for name, value in data.items() if value is not None}}
