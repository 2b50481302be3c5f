"""Every public answer may be read by a page of any site, whatever it is; OPTIONS says what an address takes."""

import time

import pytest

from tests.support.portal import Portal
from tests.support.protocols import fetch

EXPOSED = {"x-portal1400-age-seconds", "Retry-After", "ETag"}
ANSWERS = {
    "totals": ("GET", "/api/v1/totals", 200),
    "the head of totals": ("HEAD", "/api/v1/totals", 200),
    "campaigns": ("GET", "/api/v1/campaigns", 200),
    "a series": ("GET", "/api/v1/campaigns/vnn/series", 200),
    "the document": ("GET", "/api/v1/openapi.json", 200),
    "its reader": ("GET", "/api/docs", 200),
    "its reader's script": ("GET", "/api/docs/rapidoc.js", 200),
    "the front page": ("GET", "/", 200),
    "a campaign's page": ("GET", "/c/vnn", 200),
    "a page of nothing": ("GET", "/c/nobody", 404),
    "a file of nothing": ("GET", "/static/x/y", 404),
    "robots": ("GET", "/robots.txt", 200),
    "a bad parameter": ("GET", "/api/v1/campaigns/vnn/series?bucket=week", 400),
    "an unknown campaign": ("GET", "/api/v1/campaigns/nobody", 404),
    "nothing": ("GET", "/api/v2", 404),
    "another method": ("POST", "/api/v1/totals", 405),
    "a bad stream": ("GET", "/api/v1/stream?x=1", 400),
    "a stream of nothing": ("GET", "/api/v1/stream?campaign=nobody", 404),
    "the head of the stream": ("HEAD", "/api/v1/stream", 405),
    "OPTIONS of nothing": ("OPTIONS", "/api/v2", 404),
}
OPTIONS = {
    "/api/v1/totals": "GET, HEAD, OPTIONS",
    "/api/v1/campaigns/vnn/series?bucket=day": "GET, HEAD, OPTIONS",
    "/api/v1/stream": "GET, OPTIONS",
    "/api/v1/openapi.json": "GET, HEAD, OPTIONS",
    "/": "GET, HEAD, OPTIONS",
    "/c/vnn": "GET, HEAD, OPTIONS",
}


def require_readable(headers: object) -> None:
    """A script of another site may read the answer, and its headers that mean something."""
    assert hasattr(headers, "get")
    assert headers.get("Access-Control-Allow-Origin") == "*"
    assert set(headers.get("Access-Control-Expose-Headers", "").split(", ")) == EXPOSED


async def test_every_answer_may_be_read_by_every_page(lasting_portal: Portal) -> None:
    for label, (method, path, status) in ANSWERS.items():
        answer = await fetch(lasting_portal, method, path)
        assert answer.status == status, label
        require_readable(answer.headers)
        if status == 405:
            assert "OPTIONS" in answer.headers["Allow"]
    async with lasting_portal.http.get(lasting_portal.base + "/api/v1/stream") as stream:
        require_readable(stream.headers)


@pytest.mark.parametrize("path", ["/", "/api/v1/totals", "/api/v1/stream", "/api/v1/campaigns/vnn/series"])
async def test_a_refusal_under_load_too(lasting_portal: Portal, path: str) -> None:
    load = lasting_portal.service.intake.load
    load.level, load._near_at = 3, time.monotonic()
    try:
        for method in ("GET", "HEAD") if path != "/api/v1/stream" else ("GET",):
            answer = await fetch(lasting_portal, method, path)
            assert answer.status == 503
            require_readable(answer.headers)
            assert "Retry-After" in answer.headers
        # It costs nothing, and says what the address takes.
        assert (await fetch(lasting_portal, "OPTIONS", path)).status == 204
    finally:
        load.level = 0


async def test_a_full_house_and_a_stream_that_is_handed_over_too(portal: Portal) -> None:
    portal.service.live.streams._viewers_max = 0
    full = await fetch(portal, "GET", "/api/v1/stream")
    assert (full.status, full.headers["Retry-After"]) == (503, "5")
    require_readable(full.headers)
    portal.service.live.streams.end()
    handed_over = await fetch(portal, "GET", "/api/v1/stream")
    assert (handed_over.status, handed_over.headers["Content-Type"]) == (200, "text/event-stream")
    require_readable(handed_over.headers)


async def test_options_says_what_an_address_takes_and_lets_every_header_through(lasting_portal: Portal) -> None:
    for path, methods in OPTIONS.items():
        answer = await fetch(lasting_portal, "OPTIONS", path)
        assert (answer.status, answer.body) == (204, b""), path
        assert answer.headers["Allow"] == answer.headers["Access-Control-Allow-Methods"] == methods, path
        assert answer.headers["Access-Control-Allow-Headers"] == "*"
        assert int(answer.headers["Access-Control-Max-Age"]) > 0
        require_readable(answer.headers)


async def test_callbacks_are_for_no_page(lasting_portal: Portal) -> None:
    for method in ("OPTIONS", "GET", "POST"):
        answer = await fetch(lasting_portal, method, "/gw/standard/hub")
        assert answer.status in (401, 405)
        assert "Access-Control-Allow-Origin" not in answer.headers
