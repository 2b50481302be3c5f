"""From a row of the outbox to an SMS: the number unsealed, the text filled, in memory alone."""

from datetime import date, datetime
from typing import NamedTuple
from urllib.parse import quote

from campaigns.book.book import NO_REPLIES, Book
from campaigns.book.replies import reply_to
from campaigns.gifts.receipts import receipt_code
from gateways.replier import OutgoingReply
from service.catalog.accounts import LoadedAccount
from service.delivery.outbox import Claimed
from service.runtime.keyring import Keyring, SealBroken, Sealer

ASSOCIATED = b"message_person.msisdn:"
NO_REPORT_ADDRESS = "PORTAL1400_PUBLIC_URL is not set, and by the report of a charged one its gift counts"


class Dropped(NamedTuple):
    """There is nothing to send, and why."""

    reason: str


def reference_of(row: Claimed) -> str:
    """Our name of the reply, of 33 letters, once for ever."""
    return f"r{row.message_id.hex}"


def written(
    row: Claimed,
    account: LoadedAccount,
    book: Book,
    keyring: Keyring,
    sealer: Sealer | None,
    *,
    now: datetime,
    public_url: str | None,
) -> OutgoingReply | Dropped:
    """The SMS that `row` stands for, by the book as it is now. `sealer` is of the row's day, None once destroyed."""
    if row.msisdn_sealed is None or sealer is None:
        return Dropped("the donor's number is erased")
    campaign = book.by_id.get(row.campaign_id or 0)
    receipt = receipt_code(keyring.receipt_key, account.id, row.native_id)
    replies = NO_REPLIES if campaign is None else campaign.replies
    text = reply_to(replies, row.reading, row.amount_vnd, receipt, is_charged=row.is_charged)
    if text is None:
        return Dropped("its campaign has no such text any more")
    try:
        msisdn = sealer.unseal(bytes(row.msisdn_sealed), ASSOCIATED + row.message_id.bytes).decode()
    except SealBroken:
        return Dropped("its number does not open")
    return OutgoingReply(
        reference=reference_of(row),
        message_ref=row.native_id,
        msisdn=msisdn,
        short_code=row.short_code,
        keyword=row.keyword or "",
        carrier=row.carrier,
        text=text,
        is_charged=row.is_charged,
        is_counted=row.reading == "counted",
        at=now,
        report_address=report_address(account, public_url),
    )


def report_address(account: LoadedAccount, public_url: str | None) -> str | None:
    """Where the account's hub would report what became of an SMS; None where we have no address of our own.

    A report may come hours later: while the path secret rotates the address has the last of the list, the new one.
    """
    if public_url is None:
        return None
    secret = account.gateway.settings.path_secret[-1:]
    steps = ("gw", account.adapter, account.code, *secret, "dlr")
    return public_url + "".join(f"/{quote(step, safe='')}" for step in steps)


def waiting_for(account: LoadedAccount, public_url: str | None) -> str | None:
    """Why no reply of the account can be sent now; None where they can.

    Of a charged SMS whose report could not come the donor would pay, and the gift would never count.
    """
    if account.reply_problem is None and account.charging == "on_report" and public_url is None:
        return NO_REPORT_ADDRESS
    return account.reply_problem


def day_of(row: Claimed) -> date | None:
    """The day whose key the number is sealed with; None where the number is erased."""
    return row.day if isinstance(row.day, date) else None
