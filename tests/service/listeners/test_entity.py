"""What many get: tagged, told apart by content and coding, compressed once for all, not sent to who has it."""

import asyncio
import gzip
import zlib

import aiohttp
import orjson
import pytest

from service.listeners.entity import GZIP_AT_ONCE_BYTES_MAX, GZIP_BYTES_MAX, GZIP_BYTES_MIN, Entity, takes_gzip
from tests.support.portal import Portal

CODINGS: dict[str, tuple[str, bool]] = {
    "nothing said": ("", False),
    "a browser": ("gzip, deflate, br, zstd", True),
    "by its old name": ("x-gzip", True),
    "in capitals": ("GZIP", True),
    "anything": ("*", True),
    "anything but": ("gzip;q=0, *", False),
    "not at all": ("gzip; q=0.000", False),
    "hardly": ("gzip;q=0.001", True),
    "others": ("br, deflate", False),
    "as it is": ("identity", False),
    "another word": ("gzipped, agzip", False),
    "noise": (";;=,q", False),
}


@pytest.mark.parametrize(("header", "is_taken"), CODINGS.values(), ids=CODINGS)
def test_gzip_is_for_those_who_take_it(header: str, is_taken: bool) -> None:
    assert takes_gzip(header) is is_taken


@pytest.mark.parametrize(
    ("size", "content_type", "pays"),
    [
        (GZIP_BYTES_MIN - 1, "application/json", False),
        (GZIP_BYTES_MIN, "application/json", True),
        (GZIP_BYTES_MAX, "text/html; charset=utf-8", True),
        (GZIP_BYTES_MAX + 1, "application/json", False),
        (5_000, "image/png", False),
        (5_000, "image/svg+xml; charset=utf-8", True),
    ],
)
def test_what_is_compressed_is_bounded_and_pays(size: int, content_type: str, pays: bool) -> None:
    assert Entity((bytes(size),), content_type).is_compressible is pays


@pytest.mark.parametrize("size", [GZIP_AT_ONCE_BYTES_MAX, GZIP_AT_ONCE_BYTES_MAX + 1], ids=["small", "large"])
async def test_a_content_is_compressed_once_for_all_and_a_reader_that_leaves_takes_it_from_nobody(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0

    def counted(level: int, method: int, window: int) -> object:
        nonlocal made
        made += 1
        return compressobj(level, method, window)

    compressobj = zlib.compressobj
    monkeypatch.setattr(zlib, "compressobj", counted)
    content = (b"a" * (size // 2), b"b" * (size - size // 2))
    shared = Entity(content, "text/plain")
    asking = [asyncio.create_task(shared.gzipped()) for _ in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()
    answers = await asyncio.gather(*asking[1:])
    assert made == 1
    assert {gzip.decompress(answer) for answer in answers} == {b"".join(content)}


ADDRESSES = {
    "/api/v1/campaigns/vnn/totals": "public, max-age=1",
    "/api/v1/totals": "public, max-age=1",
    "/api/v1/campaigns": "public, max-age=1",
    "/api/v1/campaigns/vnn": "public, max-age=1",
    "/api/v1/campaigns/vnn/series?to=2021-01-01": "public, max-age=1",
    "/api/v1/openapi.json": "no-cache",
    "/api/docs": "no-cache",
    "/api/docs/rapidoc.js": "public, max-age=86400",
    "/": "public, max-age=1",
    "/c/vnn": "public, max-age=1",
    "/c/vnn?lang=en": "public, max-age=1",
    "/static/x/page.css": "no-cache",
    "/favicon.ico": "public, max-age=86400",
    "/robots.txt": "public, max-age=86400",
}


@pytest.mark.parametrize(("path", "caching"), ADDRESSES.items())
async def test_whoever_has_an_answer_is_told_that_it_still_holds(
    lasting_portal: Portal, path: str, caching: str
) -> None:
    async def ask(method: str = "GET", **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
        asked = {"Accept-Encoding": "identity", **headers}
        async with http.request(method, lasting_portal.base + path, headers=asked) as answer:
            return answer, await answer.read()

    async with aiohttp.ClientSession(auto_decompress=False) as http:
        whole, body = await ask()
        assert whole.status == 200
        tag = whole.headers["ETag"]
        assert tag.startswith('"'), "as it was made: strong"
        assert (whole.headers["Vary"], whole.headers["Cache-Control"]) == ("Accept-Encoding", caching)
        head, nothing = await ask("HEAD")
        assert (head.status, nothing) == (200, b"")
        for name in ("ETag", "Vary", "Content-Type", "Content-Length"):
            assert head.headers[name] == whole.headers[name], name
        packed, coded = await ask(**{"Accept-Encoding": "gzip"})
        if packed.headers.get("Content-Encoding") == "gzip":
            assert (gzip.decompress(coded), packed.headers["ETag"]) == (body, f"W/{tag}")
            assert len(coded) < len(body)
        else:
            assert (coded, packed.headers["ETag"]) == (body, tag)
        for known in (tag, f"W/{tag}", f'"another", {tag}', "*"):
            for method in ("GET", "HEAD"):
                unchanged, nothing = await ask(method, **{"If-None-Match": known})
                assert (unchanged.status, nothing) == (304, b""), known
                assert unchanged.headers["ETag"] == tag
                assert (unchanged.headers["Vary"], unchanged.headers["Cache-Control"]) == ("Accept-Encoding", caching)
                assert unchanged.headers["Access-Control-Allow-Origin"] == "*"
                assert "ETag" in unchanged.headers["Access-Control-Expose-Headers"]
                assert "Content-Encoding" not in unchanged.headers
        for unknown in ('"another"', tag.strip('"'), '"', ""):
            assert (await ask(**{"If-None-Match": unknown}))[0].status == 200, unknown


async def test_another_version_is_another_tag_and_tells_the_version(lasting_portal: Portal) -> None:
    async with lasting_portal.http.get(f"{lasting_portal.base}/api/v1/campaigns/vnn/totals") as answer:
        version = orjson.loads(await answer.read())["version"]
        assert answer.headers["ETag"].startswith(f'"{version}-')
        assert "x-portal1400-age-seconds" in answer.headers
        tag = answer.headers["ETag"]
    async with lasting_portal.http.get(f"{lasting_portal.base}/api/v1/campaigns/old/totals") as answer:
        assert answer.headers["ETag"] != tag


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/xml;q=0.9", "image/*", "", ";;,q=", "json"])
async def test_the_api_answers_json_whatever_is_asked_for(lasting_portal: Portal, accept: str) -> None:
    for path, status, wanted in (
        ("/api/v1/totals", 200, "application/json"),
        ("/api/v2", 404, "application/problem+json"),
    ):
        headers = {"Accept": accept}
        async with lasting_portal.http.get(lasting_portal.base + path, headers=headers) as answer:
            assert (answer.status, answer.content_type) == (status, wanted)


async def test_refusals_are_not_kept_by_caches(lasting_portal: Portal) -> None:
    for path in ("/api/v1/campaigns/nobody", "/api/v2", "/api/v1/totals?x=1", "/static/x/y"):
        async with lasting_portal.http.get(lasting_portal.base + path) as answer:
            assert answer.headers["Cache-Control"] == "no-store", path
            assert "ETag" not in answer.headers


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://portal.example/api/v1/campaigns/vnn/totals", b"200"),
        ("HTTPS://portal.example:443/api/v1/totals", b"200"),
        ("http://portal.example/?lang=en", b"200"),
        ("http://portal.example", b"301"),
        ("http://portal.example/c/vnn/", b"301"),
        ("http://portal.example/nope", b"404"),
    ],
)
async def test_a_target_may_be_a_whole_address(lasting_portal: Portal, target: str, status: bytes) -> None:
    host, port = lasting_portal.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "Host: portal.example\r\nAccept: text/html\r\nConnection: close"
    writer.write(f"GET {target} HTTP/1.1\r\n{head}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer[9:12] == status
    assert b"Access-Control-Allow-Origin: *\r\n" in answer
    assert b"Location: /" in answer or status != b"301"
