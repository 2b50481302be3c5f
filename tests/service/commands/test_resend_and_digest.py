"""What a carrier should send again is told by ids and times; what it handed over on a day by a digest."""

import argparse
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from campaigns.gifts.resending import Silence, silences_of
from service.commands import digest, resend
from service.commands.opening import CommandRefused
from tests.support.portal import Portal, message, running, signed
from tests.support.protocols import get_kannel

Capture = pytest.CaptureFixture[str]
EVENING = datetime(2026, 10, 17, 13, 0, tzinfo=UTC)
WINDOW = ("--from", "2026-10-17T20:00:00+07:00", "--to", "2026-10-17T20:30:00+07:00")


class Clock:
    """The service's clock, which is set."""

    now = EVENING

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def portal(
    environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path, clock: Clock
) -> AsyncIterator[Portal]:
    """A running service on an evening that is over."""
    async with running(database_dsn, tmp_path, clock=clock) as started:
        yield started


async def printed(module: ModuleType, capsys: Capture, *words: str) -> tuple[int, str]:
    """A command's exit code, and what it prints."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    module.add_arguments(parser)
    capsys.readouterr()
    code = await module.run(parser.parse_args(words))
    return code, capsys.readouterr().out


async def post(portal: Portal, clock: Clock, event: dict[str, Any]) -> None:
    """Signed on that evening."""
    raw = orjson.dumps(event)
    assert (await portal.post(raw, headers=signed(raw, at=clock.now))).status == 200


async def fetched(portal: Portal, ids: Sequence[int]) -> None:
    """Kannel's ids are ours to choose here."""
    for number in ids:
        await get_kannel(portal, str(number))


async def test_missing_ids_are_told_unless_they_came_at_another_time(
    portal: Portal, clock: Clock, capsys: Capture
) -> None:
    await fetched(portal, [70020])  # before the time asked about
    clock.now = EVENING + timedelta(minutes=10)
    await fetched(portal, [12, *(n for n in range(70000, 70060) if n not in (70020, 70030, 70031, 70045, 70046))])
    clock.now = EVENING + timedelta(minutes=40)
    await fetched(portal, [70046])  # and behind it
    asked = ("vina", "--from", "2026-10-17T20:05:00+07:00", "--to", "2026-10-17T20:30:00+07:00")
    code, told = await printed(resend, capsys, *asked, "--json")
    found = json.loads(told.splitlines()[-1])
    assert (code, found["counted_up"], found["missing"], found["complete"]) == (0, True, 3, True)
    assert found["ranges"] == [
        {"first": 70030, "last": 70031, "count": 2},
        {"first": 70045, "last": 70045, "count": 1},
    ]
    _, told = await printed(resend, capsys, *asked)
    assert "  ids   70030 to 70031 (2)\n  id    70045\n" in told
    _, told = await printed(resend, capsys, "hub", *WINDOW)
    assert "by its ids nothing can be told" in told
    for account, until in (("nobody", WINDOW[3]), ("hub", "2026-10-19T20:00:00+07:00"), ("hub", WINDOW[1])):
        with pytest.raises(CommandRefused):
            await printed(resend, capsys, account, *WINDOW[:3], until)


def test_a_silence_is_told_by_what_others_sent_meanwhile() -> None:
    def at(minute: int) -> datetime:
        return EVENING + timedelta(minutes=minute)

    evening = [(at(n), 0 if 10 <= n < 14 else 5, 10) for n in range(20)]
    assert silences_of(evening) == [Silence(at(10), at(14), 20.0)]
    assert silences_of([(at(n), 0 if 10 <= n < 13 else 5, 10) for n in range(20)]) == [], "too few to tell"
    assert silences_of([(at(n), 0 if n >= 10 else 5, 10) for n in range(20)]) == [Silence(at(10), at(20), 50.0)]
    assert silences_of([(at(n), 0, 10) for n in range(20)]) == silences_of([]) == []
    assert silences_of([(at(n), 5, 0) for n in range(20)]) == []


async def test_the_digest_of_a_day_is_what_its_carrier_computes_and_is_signed(
    portal: Portal, clock: Clock, tmp_path: Path, capsys: Capture
) -> None:
    clock.now = late = datetime(2026, 10, 17, 16, 59, tzinfo=UTC)
    ids = ["m-2", "m-10", "Z", "a\u00a0"]
    for native_id, text in zip(ids, ("VNN 2", "VNN x", "VNN", "XYZ"), strict=True):
        await post(portal, clock, message(native_id, text, operator_time=late.isoformat()))
    clock.now = late + timedelta(minutes=5)
    other = message("next-day", operator_time=(late + timedelta(minutes=2)).isoformat())
    await post(portal, clock, other)
    expected = hashlib.sha256("".join(f"{each}\n" for each in sorted(ids)).encode()).hexdigest()

    code, told = await printed(digest, capsys, "2026-10-17")
    *lines, last = told.splitlines(keepends=True)
    lines = lines[next(place for place, line in enumerate(lines) if line == "portal1400 digest 1\n") :]
    assert code == 0
    assert f"account hub messages 4 units 3 vnd 60000 sha256 {expected}\n" in lines
    assert "final" in lines[2]
    _, pem = await printed(digest, capsys, "--key")
    key = load_pem_public_key(pem.encode())
    assert isinstance(key, Ed25519PublicKey)
    signature = base64.b64decode(last.removeprefix("signature "))
    key.verify(signature, "".join(lines).encode())
    with pytest.raises(InvalidSignature):
        key.verify(signature, "".join(lines).replace("vnd 60000", "vnd 60001").encode())

    for future in ("2099-01-01", "9999-12-31"):
        with pytest.raises(CommandRefused, match="DAY: has not begun in Vietnam"):
            await printed(digest, capsys, future)
    with pytest.raises(CommandRefused, match="DAY: lies before 2000-01-01"):
        await printed(digest, capsys, "0001-01-01")

    theirs = tmp_path / "ids.txt"
    theirs.write_text("m-2\nm-10\nZ\nlost\nnext-day\n", encoding="utf-8-sig")
    code, told = await printed(digest, capsys, "2026-10-17", "--account", "hub", "--ids", str(theirs), "--json")
    found = json.loads(told.splitlines()[-1])
    assert (code, found["missing"]) == (1, {"ours": ["lost"], "theirs": ["a\u00a0"]})
    assert found["other_days"] == {"next-day": "2026-10-18"}
    theirs.write_text("".join(f"{each}\n" for each in [*ids, "next-day"]))
    code, told = await printed(digest, capsys, "2026-10-17", "--account", "hub", "--ids", str(theirs))
    assert code == 1
    assert "0 id(s) did not come to us\n1 id(s) came, and are not of this digest\n" in told
    assert "  next-day bears a time of 2026-10-18\n" in told
    theirs.write_text("\n" + "".join(f"{each}\n" for each in ids), newline="\r\n")
    code, told = await printed(digest, capsys, "2026-10-17", "--account", "hub", "--ids", str(theirs))
    assert code == 0
    assert "0 id(s) did not come to us" in told
    with pytest.raises(CommandRefused, match="--ids: whose they are"):
        await printed(digest, capsys, "2026-10-17", "--ids", str(theirs))
