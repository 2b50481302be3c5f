"""The OpenAPI document is valid, complete, and true: real answers are held against it."""

import base64
import hashlib
import json
from importlib import resources

from openapi_spec_validator import validate

from service.live import schemas
from service.live.openapi_document import ADDRESSES, document
from tests.support.portal import Portal, eventually, message


def test_the_document_is_valid_openapi_3_1() -> None:
    made = document()
    validate(made)
    assert made["openapi"].startswith("3.1")


async def test_every_public_address_is_in_the_document(portal: Portal) -> None:
    app = portal.service.public_application()
    served = {route.resource.canonical for route in app.router.routes() if route.resource is not None}
    not_described = {"/api/v1/openapi.json", "/api/docs", "/api/docs/rapidoc.js"}
    assert {path for path in served if path.startswith("/api/")} - not_described == set(ADDRESSES)


async def test_real_answers_fit_the_document(portal: Portal) -> None:
    await portal.post(message("m-1"))

    async def is_shown() -> bool:
        return bool((await portal.totals())["version"] == 1)

    await eventually(is_shown)
    for path, (_, model, _, _) in ADDRESSES.items():
        if model is not None:
            answer = await portal.get(path.replace("{slug}", "vnn"))
            model.model_validate(answer)
    async with portal.http.get(f"{portal.base}/api/v1/campaigns/none") as refusal:
        schemas.Problem.model_validate(await refusal.json(content_type="application/problem+json"))
    assert set(await portal.totals()) == set(schemas.Totals.model_fields)


async def test_the_document_and_its_reader_are_served_from_here(portal: Portal) -> None:
    assert await portal.get("/api/v1/openapi.json") == document()
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
    scripts = {each.name for each in folder.iterdir() if each.name.endswith(".js")}
    assert scripts == {entry["file"] for entry in listed}
