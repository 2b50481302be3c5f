"""The OpenAPI document is valid, complete, and true: real answers are held against it."""

import base64
import hashlib
import json
import time
from importlib import resources

from openapi_spec_validator import validate

from service.live import schemas
from service.live.openapi_document import ADDRESSES, document
from tests.support.portal import Portal, eventually, message
from tests.support.streams import following


def test_the_document_is_valid_openapi_3_1(lasting_portal: Portal) -> None:
    made = document(None, lasting_portal.service.desk.described())
    validate(made)
    assert made["openapi"].startswith("3.1")


async def test_every_public_address_is_in_the_document(portal: Portal) -> None:
    app = portal.service.public_application()
    served = {route.resource.canonical for route in app.router.routes() if route.resource is not None}
    not_described = {"/api/v1/openapi.json", "/api/docs", "/api/docs/rapidoc.js"}
    described = {*ADDRESSES, *portal.service.desk.described()}
    assert {path for path in served if path.startswith("/api/")} - not_described == described
    names = [row.about.name for row in portal.service.desk.api_rows if row.about]
    assert len(set(names)) == len(portal.service.desk.api_rows)


async def test_real_answers_fit_the_document(portal: Portal) -> None:
    await portal.post(message("m-1"))

    async def is_shown() -> bool:
        return bool((await portal.totals())["version"] == 1)

    await eventually(is_shown)
    for path, about in ADDRESSES.items():
        if about.model is not None:
            answer = await portal.get(path.replace("{slug}", "vnn"))
            about.model.model_validate(answer)
    async with following(portal, "?campaign=vnn&state=true") as viewer:
        schemas.StreamState.model_validate(await viewer.state())
    async with portal.http.get(f"{portal.base}/api/v1/campaigns/none") as refusal:
        schemas.Problem.model_validate(await refusal.json(content_type="application/problem+json"))
    assert set(await portal.totals()) == set(schemas.Totals.model_fields)


def refused_under_load(portal: Portal, level: int) -> None:
    """Let the service shed as it does at `level`."""
    load = portal.service.intake.load
    load.level, load._near_at = level, time.monotonic()


async def test_what_is_answered_is_in_the_document_with_its_headers(lasting_portal: Portal) -> None:
    described = document()["paths"]

    async def require_described(path: str, query: str = "", slug: str = "vnn", **headers: str) -> int:
        address = lasting_portal.base + path.replace("{slug}", slug) + query
        async with lasting_portal.http.get(address, headers=headers) as answer:
            about = described[path]["get"]["responses"][str(answer.status)]
            assert {name.lower() for name in about["headers"]} <= {name.lower() for name in answer.headers}, path
            assert answer.status == 304 or answer.content_type in about["content"]
            return answer.status

    statuses: dict[str, set[int]] = {}
    for path, operation in described.items():
        get = operation["get"]
        seen = {await require_described(path), await require_described(path, "?nonsense=1")}
        if "304" in get["responses"]:
            seen.add(await require_described(path, **{"If-None-Match": "*"}))
        if "{slug}" in path:
            seen.add(await require_described(path, slug="nobody"))
        elif path == "/api/v1/stream":
            seen.add(await require_described(path, "?campaign=nobody"))
        refused_under_load(lasting_portal, 3)
        try:
            seen.add(await require_described(path))
        finally:
            refused_under_load(lasting_portal, 0)
        statuses[path] = seen
    # What else is described is a fault of ours, which nobody can ask for.
    assert {path: {str(each) for each in seen} | {"500"} for path, seen in statuses.items()} == {
        path: set(operation["get"]["responses"]) for path, operation in described.items()
    }
    names = [operation["get"]["operationId"] for operation in described.values()]
    assert len(set(names)) == len(names)


def test_the_event_state_is_described() -> None:
    made = document()
    assert set(made["components"]["schemas"]["StreamState"]["properties"]) == set(schemas.StreamState.model_fields)
    stream = made["paths"]["/api/v1/stream"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    assert "StreamState" in stream["schema"]["description"]


async def test_the_document_and_its_reader_are_served_from_here(portal: Portal) -> None:
    assert await portal.get("/api/v1/openapi.json") == document(None, portal.service.desk.described())
    async with portal.http.get(f"{portal.base}/api/docs") as page:
        text = await page.text()
        assert page.status == 200
        assert "//" not in text.replace("/api/", "")
        assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")


def test_vendored_files_are_what_was_vendored() -> None:
    folder = resources.files("service").joinpath("web/vendor")
    listed = json.loads(folder.joinpath("vendor.json").read_text())
    for entry in listed:
        digest = hashlib.sha384(folder.joinpath(entry["file"]).read_bytes()).digest()
        assert base64.b64encode(digest).decode() == entry["sha384"], entry["file"]
    there = {each.name for each in folder.iterdir() if not each.name.endswith((".json", ".txt"))}
    assert there == {entry["file"] for entry in listed}
