"""A callback as it came: what an adapter may look at, and nothing else."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

from gateways.records import record

NO_REQUEST = UUID(int=0)
"""Of a callback that did not come over HTTP: the nil UUID (RFC 9562, section 5.9)."""


@record()
class Callback:
    """One HTTP request from a carrier or hub.

    `query` is the raw query string as it stood in the request line, still percent-encoded; `headers` has
    lower-case names, and a repeated header is joined with ", " (RFC 9110, section 5.3); `body` is at most the
    adapter's `body_bytes_max`. `peer` is the sender's address, behind a trusted proxy the one the proxy saw
    (`is_forwarded`). `public_url` is where the service says that the outside reaches it, without a slash behind, or
    empty. `client_key` is the SHA-256, in hexadecimal digits, of the public key (SubjectPublicKeyInfo) of the
    certificate by which the sender's connection was proved to a trusted proxy; empty where there is none.
    `request_id` is ours, made where the callback came in, and names it wherever it is spoken of or kept; it
    begins with the millisecond of `received_at` (UUID version 7).
    """

    method: str
    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    peer: IPv4Address | IPv6Address
    received_at: datetime
    path_secret: str | None = field(default=None, repr=False)
    is_delivery_report: bool = False
    is_forwarded: bool = False
    public_url: str = ""
    client_key: str = ""
    request_id: UUID = NO_REQUEST
