"""Decisions' files: kept with their proposal by hash, for ever, and handed to those who may see it."""

import io

import asyncpg
import pytest
from aiohttp import FormData

from campaigns.lifecycle.decision_files import FILE_BYTES_MAX
from service.desk.roles import Role
from tests.service.desk.test_approvals import FORM, kept
from tests.support.desk import Visitor, logged_in, person
from tests.support.portal import Portal

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
