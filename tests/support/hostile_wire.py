"""A client that sends any bytes over a connection, however bad, and tells what came back."""

import asyncio
import re
import time
from dataclasses import dataclass

import orjson

from gateways.wire.signatures import sign, signing_key
from tests.support.portal import PATH_SECRET, SIGNING_SECRET, Portal, message

HUB = "/gw/standard/hub"
KEY = signing_key(SIGNING_SECRET)
READ_BYTES_MAX = 4 * 1024 * 1024
STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d{3}) [^\r\n]*\r\n")
END = b"\r\n\r\n"


@dataclass(frozen=True)
class Heard:
    """What came back: each answer's status, all bytes, and whether the service ended the connection."""

    statuses: tuple[int, ...]
    content: bytes
    is_closed: bool

    @property
    def undated(self) -> bytes:
        """Everything but what a clock says, and our id of the request."""
        return re.sub(rb"\r\n(?:Date|x-portal1400-request): [^\r]*", b"", self.content)

    @property
    def body(self) -> bytes:
        """What stands behind the first head."""
        return self.content.partition(END)[2]


async def exchange(portal: Portal, *pieces: bytes, quiet_seconds: float = 5.0, is_half_closed: bool = False) -> Heard:
    """Send `pieces` one after another, and read until the service ends the connection or is quiet for so long."""
    host, port = portal.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    content, is_closed = b"", False
    try:
        for piece in pieces:
            writer.write(piece)
            async with asyncio.timeout(quiet_seconds):
                await writer.drain()
        if is_half_closed:
            writer.write_eof()
        while not is_closed and len(content) < READ_BYTES_MAX:
            async with asyncio.timeout(quiet_seconds):
                more = await reader.read(65536)
            content += more
            is_closed = not more
    except TimeoutError:
        pass
    except ConnectionError:
        # Who goes on sending behind a refusal may lose the answer to a reset.
        is_closed = True
    finally:
        writer.close()
    statuses = tuple(int(status) for status in STATUS_LINE.findall(content))
    return Heard(statuses, content, is_closed)


def gift(native_id: str, text: str = "VNN 5") -> bytes:
    """The body of one message."""
    return orjson.dumps(message(native_id, text))


def signature(body: bytes, *, attempt_id: str = "msg_1", age_seconds: int = 0) -> tuple[str, ...]:
    """Header lines that sign any bytes for the account `hub`."""
    timestamp = str(int(time.time()) - age_seconds)
    return (
        f"webhook-id: {attempt_id}",
        f"webhook-timestamp: {timestamp}",
        f"webhook-signature: {sign(KEY, attempt_id, timestamp, body)}",
    )


def request(line: str, *headers: str | bytes, body: bytes = b"", is_last: bool = True) -> bytes:
    """A request whose headers are only those given. `is_last`: the service is asked to end the connection."""
    lines = [line, "Host: portal", *headers, *(["Connection: close"] if is_last else [])]
    encoded = [each if isinstance(each, bytes) else each.encode("utf-8", "surrogateescape") for each in lines]
    return b"\r\n".join(encoded) + END + body


def post(body: bytes, *headers: str | bytes, wire: bytes | None = None, is_last: bool = True) -> bytes:
    """A signed POST to `hub` with its right length, unless `wire` stands for the body and `headers` frame it."""
    framing = () if wire is not None else (f"Content-Length: {len(body)}",)
    sent = body if wire is None else wire
    return request(f"POST {HUB} HTTP/1.1", *signature(body), *framing, *headers, body=sent, is_last=is_last)


def chunked(*chunks: bytes) -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def kannel(native_id: str, more: str = "", text: str = "VNN+5") -> str:
    """The address Kannel fetches for one message."""
    return f"/gw/kannel/vina/{PATH_SECRET}?id={native_id}&from=84950000001&to=1408&smsc=vnp1&text={text}{more}"


async def stored(portal: Portal) -> list[str]:
    """The ids of all messages there are."""
    return [row["native_id"] for row in await portal.fetch("SELECT native_id FROM message ORDER BY native_id")]
