"""`gateway`: an entry that apply takes, secrets that are shown once and rotate with an overlap."""

import argparse
import base64
import json
import re
import stat
import tomllib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from campaigns.book.apply_file import load
from gateways.registry import ADAPTERS
from service.catalog.account_tables import prepare_gateways
from service.commands import gateway, received
from service.commands.apply import apply_file
from service.commands.opening import CommandRefused
from tests.support.portal import (
    BOOK,
    PATH_SECRET,
    SIGNING_SECRET,
    Portal,
    book_file,
    eventually,
    message,
    running,
    signed,
)

Capture = pytest.CaptureFixture[str]
NET = ("--network", "127.0.0.0/8")
CARRIER = ("--carrier", "viettel")
KEYS: dict[str, tuple[str, ...]] = {
    "esms_get": ("cpid=CP01",),
    "vcom_json": ("client_id=portal",),
    "vn_http_get": ("dialect=ddviet",),
    "onepay": ("access_key=ak", "product=sms"),
    "vn_soap_mo": ("dialect=receiverMO",),
    "camara_billing": ("messages_of=hub",),
}


async def told(capsys: Capture, *words: str) -> str:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    gateway.add_arguments(parser)
    capsys.readouterr()
    assert await gateway.run(parser.parse_args(words)) == 0
    return capsys.readouterr().out


async def as_json(capsys: Capture, *words: str) -> Any:
    return json.loads((await told(capsys, *words, "--json")).splitlines()[-1])


@pytest.mark.parametrize("protocol", sorted(ADAPTERS.keys() - {"generic"}))
async def test_a_new_entry_is_one_that_apply_takes_and_holds_no_secret(protocol: str, capsys: Capture) -> None:
    own = [word for each in KEYS.get(protocol, ()) for word in ("--set", each)]
    if not ADAPTERS[protocol].tells_carrier:
        with pytest.raises(CommandRefused, match="--carrier: no message of"):
            await told(capsys, "new", protocol, "line-1", *NET, *own)
        own += CARRIER
    made = await as_json(capsys, "new", protocol, "line-1", *NET, *own, "--url", "https://give.example")
    (prepared,) = prepare_gateways(load(made["entry"].encode()), seal=lambda plain, _: plain, digest_key=b"")
    assert (prepared.code, prepared.adapter, prepared.test) == ("line-1", protocol, True)
    assert made["environment"]
    for name, secret in made["environment"].items():
        assert f"env:{name}" in made["entry"]
        if secret is None:
            assert ADAPTERS[protocol].secret_is_theirs
            continue
        assert len(secret) >= 43
        assert secret not in made["entry"]
        assert secret in "\n".join(made["carrier_side"])
    assert f"https://give.example/gw/{protocol}/line-1" in "\n".join(made["carrier_side"])
    again = await as_json(capsys, "new", protocol, "line-1", *NET, *own)
    drawn = [{each for each in one["environment"].values() if each} for one in (made, again)]
    assert not drawn[0] & drawn[1]


REFUSED = {
    "a key that is missing": (("vn_soap_mo", "h", *NET), "dialect: is missing"),
    "one factor": (("kannel", "k"), "fewer than two factors"),
    "a code": (("standard", "No Code", *NET), "code"),
    "no network": (("standard", "k", "--network", "10.0.0.1/8"), "networks"),
    "no key": (("standard", "k", *NET, "--set", "dialect"), "KEY=VALUE"),
    "key of a table": (("generic", "k", *NET, "--set", "dialect.format=xml"), "a table is one KEY={...}"),
    "no list": (
        ("onepay", "h", *NET, *CARRIER, "--set", "product=smsplus", "--set", "success_codes=00"),
        "success_codes: must be a list; put it in square brackets",
    ),
    "no folder": (("standard", "k", *NET, "--files", "/nowhere"), "no folder"),
}


@pytest.mark.parametrize("label", REFUSED)
async def test_what_apply_would_refuse_is_no_entry(label: str, capsys: Capture) -> None:
    words, reason = REFUSED[label]
    with pytest.raises(CommandRefused, match=re.escape(reason)):
        await told(capsys, "new", *words)


async def test_secrets_become_files_that_their_owner_alone_reads_and_are_never_written_over(
    tmp_path: Path, capsys: Capture
) -> None:
    words = ("new", "standard", "hub-2", *NET, "--files", str(tmp_path))
    said = await told(capsys, *words)
    path = tmp_path / "hub-2.secret"
    secret = path.read_text().strip()
    assert (stat.S_IMODE(path.stat().st_mode), said.count(secret)) == (0o600, 1)
    assert f'secrets = ["file:{path}"]' in said
    with pytest.raises(CommandRefused, match="never written over"):
        await told(capsys, *words)
    assert path.read_text().strip() == secret


@pytest.fixture
async def portal(environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    environ.setenv("HUB_3", "a-password")
    book = BOOK.replace('"a-password-for-tests"', '"env:HUB_3"') + "test = true\n"
    async with running(database_dsn, tmp_path, book) as started:
        yield started


async def test_links_are_listed_and_shown_without_a_secret_and_rotate_with_an_overlap(
    portal: Portal, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = await as_json(capsys, "list")
    assert {each["code"]: (each["state"], each["test"]) for each in listed["gateways"]} == {
        "hub": ("on", False), "vina": ("on", False), "soap": ("on", True),
    }  # fmt: skip
    everything = json.dumps(listed) + await told(capsys, "list")
    for code in ("hub", "vina", "soap"):
        everything += json.dumps(await as_json(capsys, "show", code)) + await told(capsys, "show", code)
    assert [each for each in (SIGNING_SECRET, PATH_SECRET, "a-password") if each in everything] == []
    assert "env:HUB_3" in everything
    assert "/gw/kannel/vina/(path secret)" in everything
    monkeypatch.delenv("HUB_3")
    assert "cannot serve" in await told(capsys, "list")
    with pytest.raises(CommandRefused, match="there are: hub, soap, vina"):
        await told(capsys, "show", "nobody")

    with pytest.raises(CommandRefused, match="--until: lies in the past"):
        await told(capsys, "rotate", "hub", "--files", str(tmp_path), "--until", "2026-01-01T00:00:00+07:00")
    rotated = await as_json(capsys, "rotate", "hub", "--files", str(tmp_path))
    assert rotated["line"] == f'secrets = ["the secret that stands there now", "file:{tmp_path}/hub.secret_2"]'
    (line,) = rotated["carrier_side"]
    new = line.split()[-1]
    assert new == (tmp_path / "hub.secret_2").read_text().strip()
    both = tomllib.loads(rotated["line"].replace("the secret that stands there now", SIGNING_SECRET))["secrets"]
    book = BOOK.replace(f'secrets = ["{SIGNING_SECRET}"]', f"secrets = {json.dumps(both)}")
    await apply_file(portal.opened, book_file(tmp_path, book))

    async def are_both_right() -> bool:
        return len(portal.service.catalog.accounts.by_code["hub"].gateway.settings.secrets) == 2

    await eventually(are_both_right)
    for number, secret in enumerate((SIGNING_SECRET, new)):
        raw = json.dumps(message(f"m-{number}")).encode()
        assert (await portal.post(raw, headers=signed(raw, secret=secret))).outcome == "accepted"


async def test_every_protocol_proves_its_link_by_a_ping_that_stores_nothing(
    environ: pytest.MonkeyPatch, database_dsn: str, tmp_path: Path, capsys: Capture
) -> None:
    """By what `gateway new` makes of it: whatever a sender signs, the service verifies."""
    entries: list[str] = []
    for protocol in sorted(ADAPTERS.keys() - {"generic"}):
        own = [word for each in KEYS.get(protocol, ()) for word in ("--set", each)]
        made = await as_json(capsys, "new", protocol, protocol.replace("_", "-"), *NET, *CARRIER, *own)
        entry = made["entry"]
        for name, secret in made["environment"].items():
            entry = entry.replace(f"env:{name}", secret or "what-the-hub-hands-out")
        entries.append(entry)
    entries.append(
        '[[gateway]]\ncode = "signer"\nadapter = "standard"\ncarrier = "viettel"\ncharging = "on_message"\n'
        f'networks = ["127.0.0.0/8"]\npublic_keys = ["whpk_{base64.b64encode(bytes(32)).decode()}"]\n'
    )
    async with running(database_dsn, tmp_path, BOOK + "\n".join(entries)) as portal:
        with pytest.raises(CommandRefused, match="a key that only the carrier has"):
            await told(capsys, "test", "signer", "--target", portal.base)
        tried = {}
        for protocol in sorted(ADAPTERS.keys() - {"generic"}):
            tried[protocol] = await as_json(capsys, "test", protocol.replace("_", "-"), "--target", portal.base)
        assert {(each["proven"], each["status"]) for each in tried.values()} == {(True, 409)}
        assert "every factor passes from 127.0.0.1; nothing was stored" in await told(
            capsys, "test", "hub", "--target", portal.base
        )
        for table in ("message", "test_event", "quarantine", "charge_notice"):
            assert not await portal.fetch(f"SELECT FROM {table}"), table
        await portal.post(message("m-900000001"))
        parser = argparse.ArgumentParser(allow_abbrev=False)
        received.add_arguments(parser)
        times = ("--from", "2026-01-01T00:00:00", "--to", "2026-01-01T00:10:00")
        capsys.readouterr()
        assert await received.run(parser.parse_args(["hub", *times])) == 0
        assert capsys.readouterr().out == "0 id(s)\n"
        now = datetime.now(UTC)
        times = ("--from", (now - timedelta(minutes=5)).isoformat(), "--to", (now + timedelta(minutes=5)).isoformat())
        assert await received.run(parser.parse_args(["hub", *times])) == 0
        assert "message   m-900000001  counted\n1 id(s)" in capsys.readouterr().out
        assert await received.run(parser.parse_args(["hub", *times, "--json"])) == 0
        assert [each["id"] for each in json.loads(capsys.readouterr().out)["ids"]] == ["m-900000001"]
        with pytest.raises(CommandRefused, match="at most 24 hours"):
            await received.run(parser.parse_args(["hub", "--from", "2026-01-01T00:00:00", "--to", "2026-01-03"]))
