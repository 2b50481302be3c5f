"""A secret may begin and end to be right by itself, to the callback."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from campaigns.book.apply_entries import ApplyRefused
from campaigns.book.apply_file import load
from service.catalog.account_rows import AccountRow
from service.catalog.account_tables import prepare_gateways
from service.catalog.accounts import load_accounts
from tests.support.portal import BOOK, SIGNING_SECRET, message, running, signed

OTHER = "whsec_" + "QUJD" * 10
AT = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)
ACCOUNT = """
[[gateway]]
code = "hub"
adapter = "standard"
carrier = "viettel"
charging = "on_message"
networks = ["127.0.0.0/8"]
"""


def prepared(secrets: str) -> Any:
    (gateway,) = prepare_gateways(
        load((ACCOUNT + f"secrets = {secrets}\n").encode()), seal=lambda plain, _: plain, digest_key=b""
    )
    return gateway


REFUSED = {
    "no secret": ("[{ not_after = 2026-12-01T00:00:00+07:00 }]", "secrets[0]", "no secret beside"),
    "no zone": ('[{ secret = "env:A", not_after = 2026-12-01T00:00:00 }]', "secrets[0]", "time with a zone"),
    "text for a time": ('[{ secret = "env:A", not_after = "2026" }]', "secrets[0]", "time with a zone"),
    "backwards": (
        '[{ secret = "env:A", not_before = 2026-12-01T00:00:00Z, not_after = 2026-11-01T00:00:00Z }]',
        "secrets[0]", "never be right",
    ),
    "another key": ('[{ secret = "env:A", until = 2026-12-01T00:00:00Z }]', "secrets[0]", "key until"),
    "a wrong secret": ('["env:A", { secret = "short", not_after = 2026-12-01T00:00:00Z }]', "secrets", "whsec_"),
    "a wrong name": ('[{ secret = "env:a", not_after = 2026-12-01T00:00:00Z }]', "secrets[0]", "name of A-Z"),
}  # fmt: skip


@pytest.mark.parametrize("label", REFUSED)
def test_what_is_no_window_is_refused_at_its_place(label: str) -> None:
    secrets, place, reason = REFUSED[label]
    with pytest.raises(ApplyRefused) as refused:
        prepared(secrets)
    assert any(each.toml_path.endswith(place) and reason in each.reason for each in refused.value.problems)
    assert "short" not in str(refused.value)


def test_a_secret_is_used_in_its_time_alone_and_tells_when_that_changes() -> None:
    gateway = prepared(
        '[{ secret = "env:OLD", not_after = 2026-11-21T15:30:00Z }, '
        '{ secret = "env:NEW", not_before = 2026-11-21T15:20:00Z }]'
    )
    row = AccountRow(1, "hub", "standard", "viettel", "on_message", ("127.0.0.0/8",), True, gateway.settings)
    environ = {"OLD": SIGNING_SECRET, "NEW": OTHER}
    second = timedelta(seconds=1)
    for now, usable, changes_at in (
        (AT - timedelta(minutes=11), {SIGNING_SECRET}, AT - timedelta(minutes=10)),
        (AT - timedelta(minutes=10), {SIGNING_SECRET, OTHER}, AT),
        (AT - second, {SIGNING_SECRET, OTHER}, AT),
        (AT, {OTHER}, None),
    ):
        loaded = load_accounts([row], lambda sealed, _: sealed, environ, now)
        account = loaded.by_code["hub"]
        assert (set(account.gateway.settings.secrets), loaded.changes_at) == (usable, changes_at), now
        assert account.is_usable
    assert ["OLD is over since" in each for each in loaded.warnings] == [True]
    row = replace(row, settings={"secrets": gateway.settings["secrets"][:1]})
    account = load_accounts([row], lambda sealed, _: sealed, environ, AT).by_code["hub"]
    assert (account.is_usable, account.problem) == (False, "OLD is not right at this time")


async def test_the_first_callback_behind_the_end_of_a_secret_is_refused(database_dsn: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    clock = [now]
    times = f"not_after = {(now + timedelta(hours=1)).isoformat()}"
    begins = f"not_before = {(now + timedelta(minutes=30)).isoformat()}"
    secrets = f'secrets = [{{ secret = "{SIGNING_SECRET}", {times} }}, {{ secret = "{OTHER}", {begins} }}]'
    book = BOOK.replace(f'secrets = ["{SIGNING_SECRET}"]', secrets)
    async with running(database_dsn, tmp_path, book, clock=lambda: clock[0]) as portal:

        async def statuses() -> list[int]:
            raw = json.dumps(message("m-1")).encode()
            return [
                (await portal.post(raw, headers=signed(raw, secret=secret, at=clock[0]))).status
                for secret in (SIGNING_SECRET, OTHER)
            ]

        assert await statuses() == [200, 401]
        clock[0] = now + timedelta(minutes=30)
        assert await statuses() == [200, 200]
        clock[0] = now + timedelta(hours=1)
        assert await statuses() == [401, 200]
