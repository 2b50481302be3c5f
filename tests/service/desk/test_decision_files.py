"""Decisions' files: kept with their proposal by hash, for ever, and handed to those who may see it."""

import asyncio
import hashlib
import io
from typing import Any

import asyncpg
import pytest
from aiohttp import FormData

from campaigns.lifecycle.decision_files import FILE_BYTES_MAX
from service.desk.assembly import API_PREFIX
from service.desk.bodies import FIELDS_MAX
from service.desk.roles import SCOPES, Role
from service.desk.uploads import UPLOADS_AT_ONCE
from tests.service.desk.test_approvals import FORM, kept
from tests.support.desk import Visitor, logged_in, person, token_of
from tests.support.portal import Portal, eventually

PDF = b"%PDF-1.7\n" + b"quyet dinh " * 500


async def brought(
    visitor: Visitor, address: str, content: bytes, csrf: str | None = None, **fields: str
) -> tuple[int, str]:
    """Send a file with its description; status and page."""
    form = FormData()
    for name, value in {"csrf": visitor.csrf if csrf is None else csrf, "decision": "12/QĐ-MTTQ",
                        "decided_on": "2026-10-17", **fields}.items():  # fmt: skip
        form.add_field(name, value)
    form.add_field("file", io.BytesIO(content), filename="quyết định.pdf", content_type="application/pdf")
    cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())}
    async with visitor.portal.http.post(
        f"{visitor.portal.base}/desk{address}/files", data=form, allow_redirects=False,
        headers={"Sec-Fetch-Site": "same-origin", "Origin": visitor.portal.base, **cookies},
    ) as answer:  # fmt: skip
        return answer.status, await answer.text()


async def test_a_decision_is_kept_by_its_hash_and_handed_to_who_may_see_it(desk_portal: Portal) -> None:
    portal = desk_portal
    operator = await logged_in(portal, await person(portal, "van.thu", Role.OPERATOR))
    address = await kept(operator, **{**FORM, "slug": "co-tep", "keywords": "COTEP"})
    number = int(address.split("/")[-1])
    assert (await brought(operator, address, PDF))[0] == 303
    for content, fields, status, told in (
        (PDF, {}, 422, "đã được lưu"),
        (b"MZ\x90" + PDF, {}, 422, "không phải PDF"),
        (b"", {}, 422, "lớn hơn 5 MiB"),
        (PDF + bytes(FILE_BYTES_MAX), {}, 422, "lớn hơn 5 MiB"),
        (PDF + b".", {"decision": " "}, 422, "Ghi số quyết định"),
        (PDF + b".", {"decided_on": "17/10/2026"}, 422, "Ghi số quyết định"),
        (PDF + b".", {"decided_on": "2099-10-17"}, 422, "chưa đến"),
        (PDF + b".", {"decision": "x" * 70_000}, 400, ""),
    ):
        refused = await brought(operator, address, content, **fields)
        assert (refused[0], told in refused[1]) == (status, True), (content[:20], fields, refused[1])
    assert (await brought(operator, address, PDF + b".", csrf="forged"))[0] == 403
    (row,) = await portal.fetch(
        "SELECT id, encode(sha256, 'hex') AS sha256, decision, decided_on::text AS day FROM decision_file "
        "WHERE proposal_id = $1",
        number,
    )
    assert (row["decision"], row["day"]) == ("12/QĐ-MTTQ", "2026-10-17")
    second = await logged_in(portal, await person(portal, "xem.tep", Role.AUDITOR))
    page = await second.get(address)
    assert row["sha256"] in page.text
    assert "multipart/form-data" not in page.text
    assert (await brought(second, address, PDF + b"."))[0] == 403
    cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in second.cookies.items())}
    file = f"{portal.base}/desk{address}/files/{row['id']}"
    async with portal.http.get(file, headers=cookies) as answer:
        assert (answer.status, answer.content_type, await answer.read()) == (200, "application/pdf", PDF)
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    manager = await logged_in(portal, await person(portal, "khac.to.chuc", Role.MANAGER, "redcross"))
    assert (await manager.get(f"{address}/files/{row['id']}")).status == 404
    assert (await brought(manager, address, PDF + b"."))[0] == 404
    acts = await portal.fetch(
        "SELECT after->>'sha256' AS sha256 FROM audit_entry WHERE act = 'proposal.file' AND subject = $1", str(number)
    )
    assert [act["sha256"] for act in acts] == [row["sha256"]]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await portal.fetch("DELETE FROM decision_file WHERE id = $1", row["id"])


async def test_a_program_keeps_a_decision_by_its_hash_once(desk_portal: Portal) -> None:
    portal = desk_portal
    made_by = await person(portal, "van.thu.may", Role.OPERATOR)
    address = await kept(await logged_in(portal, made_by), **{**FORM, "slug": "co-tep-may", "keywords": "COTEPMAY"})
    tokens = {
        "own": (await token_of(portal, made_by, *SCOPES))[0],
        "other": (await token_of(portal, await person(portal, "la.may", Role.MANAGER, "redcross"), *SCOPES))[0],
    }
    base, described = f"{portal.base}{API_PREFIX}{address}/files", {"decision": "12/QĐ", "decided_on": "2026-10-17"}

    async def put(content: bytes, whose: str = "own", digest: str | None = None, **asked: str) -> tuple[int, Any]:
        address = f"{base}/{digest or hashlib.sha256(content).hexdigest()}"
        async with portal.http.put(
            address,
            params={**described, **asked},
            data=io.BytesIO(content),
            headers={"Authorization": f"Bearer {tokens[whose]}"},
        ) as answer:
            return answer.status, await answer.json(content_type=None)

    first = await put(PDF)
    assert first[0] == 200, first
    assert await put(PDF) == first, "sent again it is there already"
    digest = first[1]["sha256"]
    for content, asked, status, why in (
        (PDF, {"digest": "0" * 64}, 409, "hash"),
        (PDF, {"decision": "13/QĐ"}, 409, "twice"),
        (b"MZ" + PDF, {}, 409, "type"),
        (PDF + bytes(FILE_BYTES_MAX), {}, 413, None),
        (PDF, {"decided_on": "17/10/2026"}, 400, None),
        (PDF, {"digest": "A" * 64}, 404, None),
        (PDF, {"whose": "other"}, 404, None),
    ):
        answer = await put(content, **asked)
        assert (answer[0], answer[1].get("why")) == (status, why), (asked, answer)
    for whose, status in (("own", 200), ("other", 404)):
        headers = {"Authorization": f"Bearer {tokens[whose]}"}
        async with portal.http.get(base, headers=headers) as listed:
            assert listed.status == status
            assert whose != "own" or (await listed.json())["files"] == [first[1]]
        async with portal.http.get(f"{base}/{digest}", headers=headers) as taken:
            assert (taken.status, await taken.read() == PDF) == (status, whose == "own")
    async with portal.http.get(f"{base}/{'0' * 64}", headers={"Authorization": f"Bearer {tokens['own']}"}) as absent:
        assert absent.status == 404


HEAD = b'Content-Disposition: form-data; name="decision"'
FIELD = b"--x\r\n" + HEAD + b"\r\n\r\n1\r\n"
BEGUN = FIELD + b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n%PDF-'
NO_FORMS = {
    "something before it": b"\r\n" * 10 + BEGUN + b"\r\n--x--\r\n",
    "no end": BEGUN,
    "no boundary": b"decision=1",
    "a field of no name": b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
    "a field of no head": b"--x\r\n1\r\n--x--",
    "a field that is no text": b"--x\r\n" + HEAD + b"\r\n\r\n\xff\r\n--x--",
    "more fields than a form has": FIELD * (FIELDS_MAX + 1) + b"--x--",
    "fields larger than a file": (b"--x\r\n" + HEAD + b"\r\n\r\n" + bytes(60_000) + b"\r\n") * 100,
}


async def test_what_is_no_form_with_a_file_is_refused_and_few_send_one_at_once(desk_portal: Portal) -> None:
    portal = desk_portal
    operator = await logged_in(portal, await person(portal, "tep.la", Role.OPERATOR))
    headers = {
        "Sec-Fetch-Site": "same-origin", "Content-Type": 'multipart/form-data; boundary="x"',
        "Cookie": "; ".join(f"{name}={value}" for name, value in operator.cookies.items()),
    }  # fmt: skip
    path = "/desk/proposals/1/files"
    for name, body in NO_FORMS.items():
        async with portal.http.post(portal.base + path, data=io.BytesIO(body), headers=headers) as answer:
            assert answer.status == 400, name

    host, port = portal.base.removeprefix("http://").split(":")
    sent = {"Host": host, "Content-Length": "5000", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    hanging = []
    try:
        for _ in range(UPLOADS_AT_ONCE):
            hanging.append((await asyncio.open_connection(host, int(port)))[1])
            hanging[-1].write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + BEGUN)

        async def is_crowded() -> bool:
            return (await brought(operator, "/proposals/1", b"%PDF-", csrf="forged"))[0] == 503

        await eventually(is_crowded)
    finally:
        for writer in hanging:
            writer.transport.abort()

    async def is_free() -> bool:
        return not await is_crowded()

    await eventually(is_free)
