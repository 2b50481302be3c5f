"""Run in a copy of the tree that has the new protocol: everything of the service that asks what a protocol is like.

Prints the folder its packages came from, so that nobody tests the wrong tree.
"""

from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from random import Random

import service
from campaigns.book.apply_file import book_from_file, load
from gateways.callback import Callback
from gateways.events import Message
from gateways.gateway import SignatureRejected
from gateways.outcome import Outcome, Result
from gateways.registry import decoy
from gateways.sender import Reply, Request, Verdict
from service.catalog.account_rows import AccountRow
from service.catalog.account_tables import prepare_gateways
from service.catalog.accounts import load_accounts
from service.intake.packing import pack_callback, unpack_callback
from service.runtime.keyring import Sealer
from service.simulator.bundling import bundled
from service.simulator.links import PROTOCOLS, TIMED_PROTOCOLS, links_of
from service.simulator.traffic import Evening, SmsWriter

KEY = b"a digest key for tests, 32 bytes"
LOOPBACK = ip_address("127.0.0.1")
NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
ACCOUNT = """
[[gateway]]
code = "line"
adapter = "telex"
carrier = "from_message"
charging = "on_report"
password = "mat-khau"
path_secret = "duong-rieng"
"""
BOOK = """
[[campaign]]
slug = "vnn"
name_vi = "Vì người nghèo"
category = "poverty"
organiser = "portal"
opens_at = 2026-01-01T00:00:00+07:00
closes_at = 2027-01-01T00:00:00+07:00

  [[campaign.route]]
  short_code = "1408"
  keywords = ["VNN"]
  grammar = "units"
  unit_vnd = 20_000
  max_units = 100
"""


def received(sent: Request) -> Callback:
    """A request of the sender, as the listener hands it on."""
    headers = {name.lower(): value for name, value in sent.headers.items()}
    assert sent.address == "/gw/telex/line/duong-rieng"
    return Callback(sent.method, "", headers, sent.body, LOOPBACK, NOW, "duong-rieng")


def main() -> None:
    """Raises AssertionError at the first thing that does not know the protocol."""
    # An apply file with such an account is accepted, and the account serves.
    file, sealer = load((BOOK + ACCOUNT).encode()), Sealer(bytes(32))
    (prepared,) = prepare_gateways(file, seal=sealer.seal, digest_key=KEY)
    assert prepared.charging == "on_report"
    row = AccountRow(1, "line", "telex", prepared.carrier, prepared.charging, (), True, prepared.settings)
    accounts = load_accounts([row], sealer.unseal, {})
    account = accounts.by_code.get("line")
    assert account is not None
    assert account.is_usable

    # The simulator plays it: links, carriers, times, callbacks.
    raw = {**file.gateways[0].raw, "charging": "on_message"}
    (link,), notes = links_of([raw], ("telex",), {}, (LOOPBACK,))
    assert notes == ()
    assert dict(link.carriers) == {"viettel": "VTL"}
    assert "telex" in TIMED_PROTOCOLS
    assert "telex" in PROTOCOLS
    chance = Random(1)
    evening = Evening(book_from_file(file), SmsWriter([link], chance, "1"), {}, chance, NOW, 60.0)
    delivered = list(bundled(evening.planned([1.0, 2.0, 3.0]), chance))
    assert [len(each.messages) for each in delivered] == [1, 1, 1]

    # What its sender writes is verified, understood, the same after the spool, and answered in its words.
    sender, (sms,) = link.sender(), delivered[0].messages
    callback = received(sender.request([sms], NOW))
    (event,) = account.gateway.open(callback, KEY)
    assert isinstance(event, Message)
    assert (event.native_id, event.text, event.carrier, event.message_at) == (
        sms.native_id,
        sms.text,
        "viettel",
        sms.at,
    )
    assert account.gateway.parse(unpack_callback(pack_callback(callback, account.gateway), LOOPBACK), KEY) == (event,)
    taken = account.gateway.respond(Result(outcome=Outcome.ACCEPTED, now=NOW, events=(event,)))
    assert sender.judge([sms], Reply(taken.status, "text/plain", taken.body)) is Verdict.TAKEN

    # Its stand-in refuses what the account takes, in the words in which the account refuses others.
    stand_in, refused = decoy("telex"), Result(outcome=Outcome.UNAUTHENTICATED, now=NOW)
    try:
        stand_in.open(callback, KEY)
    except SignatureRejected:
        assert stand_in.respond(refused) == account.gateway.respond(refused)
    else:
        raise AssertionError("the stand-in let somebody in")
    print(Path(service.__file__).parents[1])


if __name__ == "__main__":
    main()
