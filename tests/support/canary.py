"""A number and a text that may be left nowhere, and the search for every form they may hide in."""

import base64
from collections.abc import Iterator
from urllib.parse import quote

NUMBER = "84912340987"
NATIONAL = NUMBER[2:]
WORDS = "xin gui loi thuong kanarienvogel"
TEXT = f"VNN 5 {WORDS}"


def encodings(plain: bytes) -> Iterator[bytes]:
    """The ways a text may hide: as it is, percent-encoded, in hexadecimal, in Base64 at any offset, in UTF-16."""
    yield plain
    yield quote(plain, safe="").encode()
    yield plain.replace(b" ", b"+")
    yield "".join(f"%{byte:02x}" for byte in plain).encode()
    yield "".join(f"%{byte:02X}" for byte in plain).encode()
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    for lead in range(3):
        # Without the characters that the neighbours share.
        whole = base64.b64encode(b"\0" * lead + plain)
        yield whole[(0, 2, 3)[lead] : len(whole) - 4]
    yield plain.decode().encode("utf-16-le")
    yield plain.decode().encode("utf-16-be")


CANARIES = sorted({form for plain in (NATIONAL, WORDS) for form in encodings(plain.encode())})


def found_in(content: bytes) -> list[bytes]:
    """The canaries in `content`."""
    return [form for form in CANARIES if form in content]
