"""What is not kept of a quarantined callback cannot be asked again: a person has to answer for the sender."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from campaigns.gifts.quarantined import Quarantined
from service.catalog.account_rows import AccountRow
from service.catalog.accounts import LoadedAccount, load_accounts
from service.operations.quarantine_replay import ReplayRefused, _require_sender
from tests.gateways.calls import request

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


def account(**settings: object) -> LoadedAccount:
    """A Kannel with these settings, as it is loaded."""
    row = AccountRow(
        1, "vina", "kannel", "vinaphone", "on_message", ("127.0.0.0/8",), enabled=True, settings=settings
    )
    return load_accounts([row], lambda sealed, _: sealed, {"PATH": "word"}, NOW).by_code["vina"]


def kept(reason: str) -> Quarantined:
    """A callback that was refused for this."""
    day = date(2026, 11, 21)
    return Quarantined(
        UUID(int=1), NOW, "kannel", 1, "vina", "unauthenticated", reason, day, 100, None, None, None, is_done=False
    )


@pytest.mark.parametrize(
    ("settings", "reason", "missing"),
    [
        ({"client_certificates": ["a" * 64]}, "client certificate missing", "client certificate"),
        ({"client_certificates": ["a" * 64]}, "client certificate not pinned", "client certificate"),
        ({"path_secret": {"env": "PATH"}}, "path secret wrong", "path secret"),
        (
            {"path_secret": {"env": "PATH"}, "client_certificates": ["a" * 64]},
            "path secret wrong, client certificate missing",
            "path secret and client certificate",
        ),
        # What the account no longer asks for, nobody has to answer for.
        ({"path_secret": {"env": "PATH"}}, "client certificate missing", None),
    ],
)
def test_whoever_replays_answers_for_what_was_not_kept(
    settings: dict[str, object], reason: str, missing: str | None
) -> None:
    ours, row = account(**settings), kept(reason)
    assert ours.problem is None
    if missing is not None:
        with pytest.raises(ReplayRefused, match=f"not right when it came: {missing};"):
            _require_sender(ours, request(), row, is_source_trusted=False)
    _require_sender(ours, request(), row, is_source_trusted=missing is not None)
