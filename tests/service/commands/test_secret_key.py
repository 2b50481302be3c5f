"""Another secret key in the former one's place: beside the service, whole or not at all, and repeats stay repeats."""

import argparse
import base64
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.commands import secret_key, verify
from service.commands.opening import CommandRefused, opened
from service.desk.second_factor import place_of
from service.intake.spool_lock import Mark, SpoolLock
from service.runtime.keyring import EitherSealer, Keyring, Sealer, WrongSecretKey
from service.runtime.secret_key import PREFIX, make_secret_key
from service.runtime.settings import read_settings
from tests.support.backups import start
from tests.support.portal import BOOK, SECRET_KEY, Portal, eventually, message, running

Capture = pytest.CaptureFixture[str]
FORMER = Keyring(SECRET_KEY)


def test_a_new_key_carries_what_repeats_and_persons_are_known_by_and_nothing_else() -> None:
    given = make_secret_key(FORMER.root)
    new, both = Keyring(given), Keyring(given, SECRET_KEY)
    for each in (new, both):
        assert each.number_hash("84950000001") == FORMER.number_hash("84950000001")
        assert each.desk_mac(b"recovery", b"code") == FORMER.desk_mac(b"recovery", b"code")
        assert (each.digest_key, each.receipt_key) == (FORMER.digest_key, FORMER.receipt_key)
    assert new.manifest_key != FORMER.manifest_key
    assert new.key_check != FORMER.key_check
    assert both.key_checks == (new.key_check, FORMER.key_check)
    sealed = FORMER.local.seal(b"plain", b"row")
    assert both.local.unseal(sealed, b"row") == b"plain"
    assert new.local.unseal(both.local.seal(b"plain", b"row"), b"row") == b"plain"
    assert Keyring(make_secret_key(new.root)).root == FORMER.root


def test_a_key_that_carries_nothing_is_refused_beside_the_former_one_and_a_cut_one_everywhere() -> None:
    with pytest.raises(WrongSecretKey, match="was not made from PORTAL1400_SECRET_KEY_PREVIOUS"):
        Keyring("another key of forty characters, made up", SECRET_KEY)
    with pytest.raises(ValueError, match="not whole"):
        Keyring(make_secret_key(FORMER.root)[:-3])


async def ran(capsys: Capture, *words: str) -> tuple[int, Any]:
    """Run the command with --json; its exit code, and the object it printed."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    secret_key.add_arguments(parser)
    capsys.readouterr()
    code = await secret_key.run(parser.parse_args([*words, "--json"]))
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


INSERT_PERSON = """
INSERT INTO desk_user (login, name, role, password, totp_sealed) VALUES ('lan', 'Lan', 'operator', '', $1)
"""


def test_whatever_is_sealed_with_the_secret_has_its_place_in_the_change() -> None:
    """A new sealer of the keyring: what it seals in the database belongs into `rotate`."""
    sealers = {name for name, value in vars(FORMER).items() if isinstance(value, EitherSealer | Sealer)}
    assert sealers == {"wrapper", "settings", "desk", "local"}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


async def test_the_secret_is_changed_beside_the_service_whole_or_not_at_all(
    environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path, capsys: Capture
) -> None:
    async with running(database_dsn, tmp_path) as portal:
        await portal.post(message("m-1"))
    new = make_secret_key(FORMER.root)
    assert new.startswith(PREFIX)
    both = {"secret_key": new, "secret_key_previous": SECRET_KEY}
    environ.setenv("PORTAL1400_SECRET_KEY", new)
    environ.setenv("PORTAL1400_SECRET_KEY_PREVIOUS", SECRET_KEY)
    clock = Clock()
    async with running(
        database_dsn, tmp_path, "", clock=clock, secret_key=new, secret_key_previous=SECRET_KEY
    ) as portal:
        environ.setenv("PORTAL1400_INTERNAL_LISTEN", portal.internal.removeprefix("http://"))
        sealed = FORMER.desk.seal(b"a second factor", place_of(1))
        await portal.fetch(INSERT_PERSON, sealed)
        assert await sealed_by(portal) == {"key": FORMER.key_check, "days": 0, "accounts": 0}
        await killed_half_way(portal, tmp_path, both)
        assert await sealed_by(portal) == {"key": FORMER.key_check, "days": 0, "accounts": 0}
        # Between them a day begins: its key is made with the secret that the database names.
        clock.now += timedelta(days=5)
        await prepared(portal)
        code, done = await ran(capsys, "status")
        assert (code, done["because"][-1]) == (1, "the database names the former key as its own")

        code, done = await ran(capsys, "rotate", "--by", "Lan", "--reason-text", "it was in a mail")
        assert (code, done) == (0, {"days": 4, "accounts": 3, "factors": 1, "is_named": True, "changed": True})
        assert await sealed_by(portal) == {"key": Keyring(new).key_check, "days": 4, "accounts": 1}
        assert (await ran(capsys, "rotate"))[1]["changed"] is False
        clock.now += timedelta(days=5)
        await prepared(portal)
        assert (await sealed_by(portal))["days"] == 6
        assert await ran(capsys, "status") == (0, {"former_key_needed": False, "because": []})
        # What a worker left in its spool was sealed with the former key, and nobody runs any more who could say so.
        environ.setenv("PORTAL1400_DATA_DIR", str(tmp_path / "left"))
        (tmp_path / "left" / "spool").mkdir(parents=True)
        lock = SpoolLock.claim(tmp_path / "left" / "spool" / "07.lock")
        assert lock is not None
        lock.write(Mark(5, 3))
        lock.free()
        code, left = await ran(capsys, "status")
        assert (code, left["former_key_needed"]) == (1, True)
        assert left["because"] == [f"2 callbacks wait in the spool file {tmp_path}/left/spool/07.sqlite"]
        environ.setenv("PORTAL1400_DATA_DIR", str(tmp_path))
    with pytest.raises(WrongSecretKey):
        async with opened(read_settings(dict(os.environ) | settings_of(SECRET_KEY)), may_migrate=False):
            pass
    environ.delenv("PORTAL1400_SECRET_KEY_PREVIOUS")
    async with running(database_dsn, tmp_path, "", secret_key=new) as portal:
        assert (await portal.post(message("m-1"))).outcome == "duplicate"
        assert (await portal.post(message("m-3"))).outcome == "accepted"
    parser = argparse.ArgumentParser()
    verify.add_arguments(parser)
    assert await verify.run(parser.parse_args(["--deep"])) == 0


def settings_of(key: str) -> dict[str, str]:
    """The environment of a process that was never told of another key."""
    return {"PORTAL1400_SECRET_KEY": key, "PORTAL1400_SECRET_KEY_PREVIOUS": key}


async def prepared(portal: Portal) -> None:
    """Keys for today and tomorrow."""
    async with portal.opened.database.borrow() as connection:
        await portal.service.operations.housekeeping.prepare(connection)


async def sealed_by(portal: Portal) -> dict[str, object]:
    """Which key the database names, and how much the newest one of the service opens."""
    keyring = portal.opened.keyring
    (row,) = await portal.fetch("SELECT coalesce(current_check, key_check) AS key FROM installation")
    days = [
        keyring.rewrapped(each["day"], bytes(each["wrapped"])) is None
        for each in await portal.fetch("SELECT day, wrapped FROM data_key")
    ]
    accounts = await portal.fetch("SELECT settings::text AS said FROM gateway_account WHERE code = 'hub'")
    (stored,) = json.loads(accounts[0]["said"])["secrets"]
    opens = keyring.settings.is_of_first(base64.b64decode(stored["sealed"]), b"gateway_account:hub:secrets")
    return {"key": bytes(row["key"]), "days": sum(days), "accounts": int(opens)}


async def killed_half_way(portal: Portal, folder: Path, both: dict[str, str]) -> None:
    """The command is killed when the keys of days are wrapped anew, and the accounts' turn has come."""
    holder = await asyncpg.connect(portal.dsn)
    await holder.execute("BEGIN; LOCK TABLE gateway_account IN SHARE MODE")
    settings = {name.upper(): value for name, value in both.items()}
    process = await start(portal.dsn, folder, "secret-key", "rotate", **settings, INTERNAL_LISTEN="127.0.0.1:0")
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'gateway_account'::regclass"

    async def is_there() -> bool:
        return bool(await holder.fetchval(waits))

    await eventually(is_there, 60)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    await holder.execute("ROLLBACK")
    gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portal1400 secret-key'"

    async def is_gone() -> bool:
        return not await holder.fetchval(gone)

    await eventually(is_gone, 60)
    await holder.close()


async def test_a_worker_with_one_key_alone_and_a_single_key_are_refused(
    environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path, capsys: Capture
) -> None:
    with pytest.raises(CommandRefused, match="PREVIOUS is not set"):
        await ran(capsys, "rotate")
    async with running(database_dsn, tmp_path, BOOK) as portal:
        environ.setenv("PORTAL1400_INTERNAL_LISTEN", portal.internal.removeprefix("http://"))
        environ.setenv("PORTAL1400_SECRET_KEY", make_secret_key(FORMER.root))
        environ.setenv("PORTAL1400_SECRET_KEY_PREVIOUS", SECRET_KEY)
        with pytest.raises(CommandRefused, match="know one key alone"):
            await ran(capsys, "rotate")
