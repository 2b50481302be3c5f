"""One id from a callback's arrival to wherever it is spoken of or kept: answer, log, spool, store, quarantine."""

from pathlib import Path
from uuid import UUID

import orjson

from tests.service.intake.test_turned_away import log_lines
from tests.support.away import database_away, replayed
from tests.support.portal import PATH_SECRET, message, running, signed
from tests.support.protocols import SENDERS, fetch

REQUEST = "x-portal1400-request"
KEPT = """
SELECT 'raw' AS kind, id FROM raw_callback UNION ALL SELECT 'message', id FROM message
UNION ALL SELECT 'raw of ' || native_id, raw_id FROM message UNION ALL SELECT 'charge', raw_id FROM charge_notice
UNION ALL SELECT 'conflict', raw_id FROM conflict UNION ALL SELECT 'conflict whole', raw_id FROM conflict_callback
UNION ALL SELECT 'quarantine ' || outcome, id FROM quarantine
"""
MALFORMED = message("m-2", msisdn="12")


async def test_a_callback_has_one_id_in_answer_log_and_store(database_dsn: str, tmp_path: Path) -> None:
    given = "01890a5d-ac96-774b-bcce-b302099a8057"
    with log_lines(tmp_path / "log") as lines:
        async with running(database_dsn, tmp_path) as portal:
            body = orjson.dumps(message("m-1"))
            answers = {
                "raw": await portal.post(body, headers=signed(body) | {REQUEST: given, "x-request-id": given}),
                "conflict": await portal.post(message("m-1", "VNN 6")),
                "quarantine malformed": await portal.post(MALFORMED),
                "quarantine unauthenticated": await portal.post(body, headers=signed(b"another body")),
            }
            refused = [
                await fetch(portal, "POST", "/gw/standard/nobody"),
                await fetch(portal, "POST", "/gw/standart/hub"),
                await fetch(portal, "GET", "/gw/standard/hub"),
                await fetch(portal, "GET", f"/gw/kannel/vina/{PATH_SECRET}?{'a' * 9_000}"),
                await fetch(portal, "GET", "/gw/vn_soap_mo/soap?wsdl"),
            ]
            await portal.service.intake.quarantine.stop()
            kept = {row["kind"]: row["id"] for row in await portal.fetch(KEPT)}
    ids = {kind: UUID(answer.headers[REQUEST]) for kind, answer in answers.items()}
    assert kept == {**ids, "message": ids["raw"], "raw of m-1": ids["raw"], "conflict whole": ids["conflict"]}
    others = [UUID(each.headers[REQUEST]) for each in refused]
    assert len({*ids.values(), *others}) == len(answers) + len(refused)
    assert all(each.version == 7 for each in (*ids.values(), *others))
    for request_id in (*ids.values(), *others):
        assert sum(f"request={request_id}" in line for line in lines) == 1, request_id
    assert given not in "\n".join(lines)


async def test_the_spool_keeps_it(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path) as portal:
        async with database_away(portal):
            answers = [await SENDERS[name].send(portal, "m-1") for name in SENDERS]
            malformed = await portal.post(MALFORMED)
        await replayed(portal)
        ids = {UUID(each.headers[REQUEST]) for each in answers}
        assert {row["raw_id"] for row in await portal.fetch("SELECT raw_id FROM message")} == ids
        assert {row["id"] for row in await portal.fetch("SELECT id FROM raw_callback")} == ids
        (apart,) = await portal.fetch("SELECT id FROM quarantine")
        assert apart["id"] == UUID(malformed.headers[REQUEST])
