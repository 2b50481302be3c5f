"""Answers that many get: tagged by what they say, not sent again to whoever has them, compressed once for all.

Conditional requests are those of RFC 9110, section 13.1.2. What is sent as it was made carries a strong entity tag;
compressed, the same one marked as weak, for two builds of zlib may write one text in two ways (section 8.8.3).
"""

import asyncio
import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping

from aiohttp import web

GZIP_BYTES_MIN = 1_024
"""Below this an answer has its packet to itself either way."""
GZIP_BYTES_MAX = 4 * 2**20
"""Above this an answer is sent as it is: the work, and a second copy in memory, would be anybody's to ask for."""
GZIP_AT_ONCE_BYTES_MAX = 32 * 1024
"""Up to this compressing takes less than a millisecond; more is done in a thread."""
GZIP_LEVEL = 6
TAG_BYTES = 9
VARY = {"Vary": "Accept-Encoding"}
_GZIP = 16 + zlib.MAX_WBITS
_NOT_COMPRESSED_AGAIN = re.compile(r"image/(?!svg)")
_QUALITY_ZERO = re.compile(r"\s*q\s*=\s*0(\.0{0,3})?\s*", re.IGNORECASE)


class Entity:
    """What an address says at one moment. `pieces` are written one after the other, and shared by all who ask."""

    __slots__ = ("_compressing", "_gzipped", "content_type", "pieces", "size", "tag")

    def __init__(self, pieces: Iterable[bytes], content_type: str, *, tag: str | None = None) -> None:
        """`tag`, by default a digest of the content, tells it from every other that this address ever has."""
        self.pieces = tuple(pieces)
        self.size = sum(map(len, self.pieces))
        self.content_type = content_type
        self.tag = digest_of(self.pieces) if tag is None else tag
        self._gzipped: bytes | None = None
        self._compressing: asyncio.Task[bytes] | None = None

    @property
    def is_compressible(self) -> bool:
        """Whether compressing it pays, and is cheap enough."""
        return GZIP_BYTES_MIN <= self.size <= GZIP_BYTES_MAX and not _NOT_COMPRESSED_AGAIN.match(self.content_type)

    async def gzipped(self) -> bytes:
        """The content in the coding gzip, made when it is first asked for."""
        if self._gzipped is None:
            if self.size <= GZIP_AT_ONCE_BYTES_MAX:
                self._gzipped = compress(self.pieces)
            else:
                if self._compressing is None:
                    self._compressing = asyncio.create_task(asyncio.to_thread(compress, self.pieces))
                # One reader that goes away must not take it from the others.
                self._gzipped = await asyncio.shield(self._compressing)
        return self._gzipped


def digest_of(pieces: Iterable[bytes]) -> str:
    """A short digest of a content, fit for an entity tag."""
    whole = hashlib.blake2b(digest_size=TAG_BYTES)
    for piece in pieces:
        whole.update(piece)
    return whole.hexdigest()


def compress(pieces: Iterable[bytes]) -> bytes:
    """`pieces` as one gzip member (RFC 1952) without a time, so that equal contents are equal bytes."""
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    return b"".join([*map(compressor.compress, pieces), compressor.flush()])


def takes_gzip(accept_encoding: str) -> bool:
    """Whether a reader takes the coding gzip (RFC 9110, section 12.5.3). None named, or none at all: no."""
    any_coding = False
    for entry in accept_encoding.split(","):
        coding, _, quality = entry.partition(";")
        is_taken = not _QUALITY_ZERO.fullmatch(quality)
        name = coding.strip().lower()
        if name in ("gzip", "x-gzip"):
            return is_taken
        if name == "*":
            any_coding = is_taken
    return any_coding


def has_it(request: web.BaseRequest, tag: str) -> bool:
    """Whether whoever asks has what `tag` stands for, in whichever coding."""
    return any(each.value in (tag, "*") for each in request.if_none_match or ())


def headers_of(request: web.BaseRequest, entity: Entity, headers: Mapping[str, str]) -> dict[str, str]:
    """`headers` and those of the representation that is chosen for this reader: as it is, or in the coding gzip."""
    codings = ",".join(request.headers.getall("Accept-Encoding", ()))
    if entity.is_compressible and takes_gzip(codings):
        chosen = {"ETag": f'W/"{entity.tag}"', "Content-Encoding": "gzip"}
    else:
        chosen = {"ETag": f'"{entity.tag}"'}
    return {**headers, **VARY, **chosen, "Content-Type": entity.content_type}


def unchanged(headers: Mapping[str, str]) -> web.Response:
    """The 304 of an answer with these headers; of the content it says nothing."""
    return web.Response(
        status=304, headers={name: headers[name] for name in headers if not name.startswith("Content-")}
    )


async def answer(request: web.BaseRequest, entity: Entity, headers: Mapping[str, str]) -> web.Response:
    """The answer to a GET or HEAD: 304 to whoever has it, else 200 with the content as it is or compressed."""
    chosen = headers_of(request, entity, headers)
    if has_it(request, entity.tag):
        return unchanged(chosen)
    is_gzip = "Content-Encoding" in chosen
    return web.Response(body=await entity.gzipped() if is_gzip else b"".join(entity.pieces), headers=chosen)
