"""A form with one file in it: read whole, within a bound, and then taken apart in one pass."""

import asyncio
from collections.abc import Mapping
from email.message import Message

from aiohttp import web

from service.desk.bodies import FIELDS_MAX, FORM_BYTES_MAX, BodyRefused, require_storable

UPLOAD_SECONDS = 60.0
"""As long as a file may take to come."""
UPLOADS_AT_ONCE = 4
"""In a worker: each is in memory, whole."""


Form = tuple[Mapping[str, str], bytes]
"""Fields, and the file."""


async def read_upload(request: web.BaseRequest, seconds: float, file_bytes_max: int) -> Form:
    """The fields of a form (RFC 7578), and the file that came with it; of one that is larger a byte too much.

    Raises BodyRefused.
    """
    about = Message()
    about["Content-Type"] = request.headers.get("Content-Type", "")
    boundary = about.get_boundary()
    if request.content_type != "multipart/form-data" or not boundary:
        raise BodyRefused
    # A blank line of its own, so that the first delimiter is as the others.
    body, bytes_max = bytearray(b"\r\n"), FORM_BYTES_MAX + file_bytes_max
    try:
        async with asyncio.timeout(seconds):
            # What is beyond is not read: the connection ends with the answer.
            while len(body) <= bytes_max and (chunk := await request.content.readany()):
                body += chunk
    except TimeoutError:
        raise BodyRefused from None
    try:
        return _taken_apart(bytes(body), boundary.encode("ascii"), file_bytes_max, is_whole=len(body) <= bytes_max)
    except ValueError:
        raise BodyRefused from None


def _taken_apart(body: bytes, boundary: bytes, file_bytes_max: int, *, is_whole: bool) -> Form:
    preamble, *parts = body.split(b"\r\n--" + boundary, FIELDS_MAX + 1)
    end = parts.pop() if is_whole and parts else b""
    if preamble or len(parts) > FIELDS_MAX or is_whole is not end.startswith(b"--"):
        raise BodyRefused
    form: dict[str, str] = {}
    upload = b""
    for part in parts:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name, is_file = _named(head)
        if is_file:
            upload = content[: file_bytes_max + 1]
        elif len(content) > FORM_BYTES_MAX:
            raise BodyRefused
        else:
            value = content.decode()
            require_storable(name, value)
            form.setdefault(name, value)
    if not is_whole and len(upload) <= file_bytes_max:
        # It is not the file that is too large.
        raise BodyRefused
    return form, upload


def _named(head: bytes) -> tuple[str, bool]:
    """The name of a part, and whether it is a file."""
    about = Message()
    for line in head.split(b"\r\n"):
        field, _, value = line.decode().partition(":")
        if field.lower() == "content-disposition" and field not in about:
            about[field] = value.strip()
    name = about.get_param("name", header="content-disposition")
    if about.get_content_disposition() != "form-data" or not isinstance(name, str):
        raise BodyRefused
    return name, about.get_param("filename", header="content-disposition") is not None
