"""Where a hub reports the delivery of a charged reply, and when no reply may be sent for want of such an address."""

from dataclasses import replace

import pytest

from service.catalog.account_rows import AccountRow
from service.catalog.accounts import LoadedAccount, load_accounts
from service.delivery.replies import NO_REPORT_ADDRESS, report_address, waiting_for

ROW = AccountRow(
    1, "hub", "kannel", "viettel", "on_report", ("127.0.0.0/8",), True,
    {
        "path_secret": [{"env": "OLD"}, {"env": "NEW"}],
        "reply_url": "http://127.0.0.1:13013/cgi-bin/sendsms",
        "reply_charged": {"binfo": "1"},
    },
)  # fmt: skip
OURS = "https://p.example"


def loaded(row: AccountRow = ROW) -> LoadedAccount:
    environ = {"OLD": "the-former-path-secret", "NEW": "the-next-path-secret"}
    return load_accounts([row], lambda sealed, _: sealed, environ).by_code["hub"]


def test_a_report_comes_to_the_secret_that_will_be_right_longest() -> None:
    assert report_address(loaded(), OURS) == f"{OURS}/gw/kannel/hub/the-next-path-secret/dlr"


@pytest.mark.parametrize(
    ("charging", "public_url", "reason"),
    [
        ("on_report", None, NO_REPORT_ADDRESS),
        ("on_report", OURS, None),
        ("on_reply", None, None),
        ("on_message", None, None),
    ],
)
def test_only_replies_whose_report_makes_a_gift_money_need_an_address_of_ours(
    charging: str, public_url: str | None, reason: str | None
) -> None:
    account = loaded(replace(ROW, charging=charging))  # type: ignore[arg-type]  # the table's words are Charging's
    assert waiting_for(account, public_url) == reason


def test_a_missing_password_is_told_before_a_missing_address() -> None:
    row = replace(ROW, settings={**ROW.settings, "reply_password": {"env": "NONE"}})
    assert "NONE" in (waiting_for(loaded(row), None) or "")
