"""Behind a proxy a carrier's address is what the proxy saw; a sender's own claim is believed from nobody else."""

from pathlib import Path

import orjson

from tests.support.portal import BOOK, message, running, signed

LISTED = "203.0.113.7"
OTHER = "198.51.100.1"
BEHIND = BOOK.replace('networks = ["127.0.0.0/8"]', 'networks = ["203.0.113.0/24"]')

# X-Forwarded-For as it arrives -> how a rightly signed callback then ends, from a trusted proxy.
CLAIMS: dict[str, tuple[str | None, str]] = {
    "the proxy saw the carrier": (LISTED, "accepted"),
    "the carrier behind a proxy of its own": (f"{OTHER}, {LISTED}", "accepted"),
    "a stranger that claims to be the carrier": (f"{LISTED}, {OTHER}", "unauthenticated"),
    "two trusted proxies": (f"{LISTED}, 127.0.0.9", "accepted"),
    "a dual-stack proxy": (f"::ffff:{LISTED}", "accepted"),
    "a dual-stack proxy behind another": (f"{LISTED}, ::ffff:127.0.0.9", "accepted"),
    "with the port": (f"{LISTED}:51234", "accepted"),
    "mapped, in brackets, with the port": (f"{OTHER}, [::ffff:{LISTED}]:51234", "accepted"),
    "a stranger in another spelling": (f"{LISTED}, [::ffff:{OTHER}]:51234", "unauthenticated"),
    "no header": (None, "unauthenticated"),
    "no address": ("the carrier", "unauthenticated"),
    "an empty one": (" , ", "unauthenticated"),
}


async def test_a_trusted_proxy_names_the_sender(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path, book=BEHIND, trusted_proxies="127.0.0.0/8") as portal:
        for label, (forwarded, outcome) in CLAIMS.items():
            raw = orjson.dumps(message(label))
            headers = signed(raw) | ({"x-forwarded-for": forwarded} if forwarded is not None else {})
            assert (await portal.post(raw, headers=headers)).outcome == outcome, label


UNREADABLE = ("the carrier", "_hidden", f"{LISTED}, unknown", f"{LISTED}:port", "[::1", "0.0.0.0", "::")


async def test_what_a_proxy_saw_and_nobody_can_read_is_not_the_proxy(database_dsn: str, tmp_path: Path) -> None:
    # Both lists hold the proxy itself, in a spelling of their own.
    listed = BOOK.replace('networks = ["127.0.0.0/8"]', 'networks = ["::ffff:127.0.0.0/104"]')
    async with running(database_dsn, tmp_path, book=listed, trusted_proxies="::ffff:127.0.0.0/104") as portal:
        raw = orjson.dumps(message("m-1"))
        for forwarded in UNREADABLE:
            reply = await portal.post(raw, headers=signed(raw) | {"x-forwarded-for": forwarded})
            assert reply.outcome == "unauthenticated", forwarded
        assert (await portal.post(raw, headers=signed(raw))).outcome == "accepted"


async def test_nobody_else_is_believed(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path, book=BEHIND) as portal:
        raw = orjson.dumps(message("m-1"))
        assert (
            await portal.post(raw, headers=signed(raw) | {"x-forwarded-for": LISTED})
        ).outcome == "unauthenticated"
