"""Gateway accounts: judged when applied, sealed when stored, resolved when served."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import asyncpg
import pytest

from campaigns.book.apply_entries import ApplyRefused, PreparedGateway
from campaigns.book.apply_file import load
from campaigns.book.recording import apply_changes
from gateways.callback import Callback
from gateways.gateway import SignatureRejected
from gateways.outcome import Outcome, Result
from gateways.registry import ADAPTERS
from gateways.wire.signatures import sign, signing_key
from service.catalog.account_rows import AccountRow, load_account_rows
from service.catalog.account_tables import prepare_gateways
from service.catalog.accounts import LoadedAccount, LoadedAccounts, load_accounts
from service.runtime.keyring import Sealer
from tests.support.protocols import account_table, code_of

SEALER = Sealer(bytes(32))
DIGEST_KEY = b"k" * 32
NOW = datetime(2026, 10, 17, 13, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"t" * 32).decode()
TABLE = f"""# A comment, so that the header stands in line 2.
[[gateway]]
code = "hub"
adapter = "standard"
carrier = "viettel"
charging = "on_message"
secrets = ["{SECRET}"]
networks = ["127.0.0.0/8"]
"""


def prepare(content: str) -> list[PreparedGateway]:
    return prepare_gateways(load(content.encode()), seal=SEALER.seal, digest_key=DIGEST_KEY)


def refusals(content: str) -> list[tuple[str, int | None, str]]:
    with pytest.raises(ApplyRefused) as refused:
        prepare(content)
    assert "whsec_" not in str(refused.value).replace("whsec_ and the base64", "")
    return [(problem.toml_path, problem.line, problem.reason) for problem in refused.value.problems]


def loaded(content: str, environ: Mapping[str, str] | None = None) -> LoadedAccounts:
    rows = [
        AccountRow(
            number,
            each.code,
            each.adapter,
            each.carrier,
            each.charging,
            each.networks,
            each.enabled is not False,
            json.loads(json.dumps(each.settings)),
        )
        for number, each in enumerate(prepare(content), start=1)
    ]
    return load_accounts(rows, SEALER.unseal, environ or {})


def account(content: str, environ: Mapping[str, str] | None = None) -> LoadedAccount:
    return loaded(content, environ).by_code["hub"]


def callback(*, peer: str = "127.0.0.1", path_secret: str | None = None, secret: str | None = None) -> Callback:
    headers: dict[str, str] = {}
    timestamp = str(int(NOW.timestamp()))
    if secret is not None:
        signature = sign(signing_key(secret), "id", timestamp, b"{}")
        headers = {"webhook-id": "id", "webhook-timestamp": timestamp, "webhook-signature": signature}
    return Callback("POST", "", headers, b"{}", ip_address(peer), NOW, path_secret)


# label, what is replaced in TABLE, by what, path below gateway[0], part of the reason
ROWS = [
    ("missing code", 'code = "hub"\n', "", ".code", "is missing"),
    ("code of another shape", '"hub"', '"Hub"', ".code", "a-z"),
    ("code too long", '"hub"', f'"{"h" * 61}"', ".code", "1 to 60"),
    ("code of the unknown", '"hub"', '"unknown"', ".code", "another code"),
    ("unknown adapter", '"standard"', '"smoke"', ".adapter", "kannel"),
    ("adapter no text", '"standard"', "5", ".adapter", "quotes"),
    ("unknown carrier", '"viettel"', '"unknown"', ".carrier", "'from_message'"),
    ("missing charging", 'charging = "on_message"\n', "", ".charging", "is missing"),
    ("charging on reply", "on_message", "on_reply", ".charging", "write on_message, on_report"),
    ("charging on settlement", "on_message", "on_settlement", ".charging", "'on_message', 'on_reply', 'on_report'"),
    ("charging otherwise", "on_message", "never", ".charging", "must be one of"),
    ("network with host bits", "127.0.0.0/8", "127.0.0.1/8", ".networks[0]", "write 127.0.0.0/8"),
    ("network by name", "127.0.0.0/8", "localhost", ".networks[0]", "must be a network"),
    ("network not in a list", '["127.0.0.0/8"]', '"127.0.0.0/8"', ".networks", "square brackets"),
    ("too many networks", '["127.0.0.0/8"]', str([f"10.0.0.{n}" for n in range(101)]), ".networks", "more than 100"),
    ("enabled as text", "[[gateway]]", '[[gateway]]\nenabled = "yes"', ".enabled", "true or false"),
    (
        "path secrets, one of them bad",
        "[[gateway]]",
        "[[gateway]]\npath_secret = ['a', '/']",
        ".path_secret[1]",
        "look",
    ),
    ("no path secret in a list", "[[gateway]]", "[[gateway]]\npath_secret = []", ".path_secret", "at least one"),
    ("reference to a relative file", SECRET, "file:hub", ".secrets[0]", "absolute path"),
    ("key of no adapter", "[[gateway]]", "[[gateway]]\npasswort = 'x'", ".passwort", "not a key"),
    ("key of another adapter", "[[gateway]]", "[[gateway]]\ndialect = 'receiverMO'", ".dialect", "not a key"),
    ("secret of another adapter", "[[gateway]]", "[[gateway]]\npassword = 'env:X'", ".password", "not a key"),
    ("secret of the wrong form", SECRET, "whsec_c2hvcnQ=", ".secrets", "base64"),
    ("no secret", f'["{SECRET}"]', "[]", ".secrets", "at least"),
    ("secret is a number", f'["{SECRET}"]', "[5]", ".secrets[0]", "quotes"),
    ("reference in small letters", SECRET, "env:secret", ".secrets[0]", "A-Z"),
    ("reference to nothing", SECRET, "env:", ".secrets[0]", "A-Z"),
    ("reference with a digit first", SECRET, "env:1X", ".secrets[0]", "A-Z"),
    ("reference to our own settings", SECRET, "env:PORTAL1400_SECRET_KEY", ".secrets[0]", "another name"),
    ("path secret of delivery reports", "[[gateway]]", "[[gateway]]\npath_secret = 'dlr'", ".path_secret", "choose"),
    ("path secret with a slash", "[[gateway]]", "[[gateway]]\npath_secret = 'a/b'", ".path_secret", "look like"),
    ("control in a key's text", "[[gateway]]", '[[gateway]]\npath_secret = "a\\u0000"', ".path_secret", "control"),
    ("carrier nobody knows", "[[gateway]]", "[[gateway]]\ncarriers = {a = 'b'}", ".carriers", "must be one of"),
    ("time as a value", "[[gateway]]", "[[gateway]]\ncarriers = 2026-01-01", ".carriers", "must be text"),
    ("one factor", 'networks = ["127.0.0.0/8"]\n', "", "", "two factors"),
    ("network of everybody", "127.0.0.0/8", "0.0.0.0/0", "", "two factors"),
    ("network of everybody among others", "127.0.0.0/8", '::1", "::/0', "", "two factors"),
]


KANNEL = TABLE.replace("standard", "kannel").replace(f'secrets = ["{SECRET}"]', 'path_secret = "a-path-secret"')


def test_counting_on_report_needs_reports_that_name_a_message() -> None:
    (prepared,) = prepare(TABLE.replace("on_message", "on_report"))
    assert prepared.charging == "on_report"

    assert [each.adapter for each in prepare(KANNEL)] == ["kannel"]
    hub = account_table("vn_soap_mo", ["word"])
    assert [each.adapter for each in prepare(hub)] == ["vn_soap_mo"]
    ((path, line, sentence),) = refusals(hub.replace("on_message", "on_report"))
    assert (path, line) == ("gateway[0].charging", 5)
    assert "reports charges (standard, kannel, " in sentence


def test_an_account_counts_only_by_what_its_messages_can_count_by() -> None:
    plus = account_table("onepay", ["word"])
    assert [each.charging for each in prepare(plus)] == ["on_report"]
    ((path, line, sentence),) = refusals(plus.replace("on_report", "on_message"))
    assert (path, line) == ("gateway[0].charging", 5)
    assert sentence == "is not what makes money of these messages; write on_report"
    sms = TABLE.replace("standard", "onepay") + 'product = "sms"\naccess_key = "ak"\n'
    assert [each.charging for each in prepare(sms)] == ["on_message"]
    assert "write on_message" in refusals(sms.replace("on_message", "on_report"))[0][2]


@pytest.mark.parametrize(("old", "new", "path", "reason"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_refusal_names_path_line_and_reason(old: str, new: str, path: str, reason: str) -> None:
    assert old in TABLE

    content = TABLE.replace(old, new, 1)

    ((found, line, sentence),) = refusals(content)

    # The line of the key; of the header, which is the second, where the table has no such key.
    key = path.removeprefix(".").partition("[")[0].partition(".")[0]
    at = [number for number, each in enumerate(content.splitlines(), 1) if each.startswith(f"{key} =")]
    assert (found, line) == (f"gateway[0]{path}", at[0] if key and at else 2)
    assert reason in sentence


@pytest.mark.parametrize(
    ("answer", "body", "fault"),
    [
        ("accepted", '{"ok":{"ref":"{id}"}} {reply}', None),
        ("accepted", "OK {ref}", "something else than id and reply"),
        ("malformed", "no {id}", "what could not be read"),
    ],
)
def test_a_place_that_nothing_fills_is_refused(answer: str, body: str, fault: str | None) -> None:
    line = 'dialect.answers.accepted.body = "OK"\n'
    others = line * (answer != "accepted")
    table = account_table("generic", ["a-key"])
    assert line in table
    table = table.replace(line, f"{others}dialect.answers.{answer}.body = {json.dumps(body)}\n")
    if fault is None:
        assert prepare(table)
    else:
        ((path, _, reason),) = refusals(table)
        assert path == f"gateway[0].dialect.answers.{answer}.body"
        assert fault in reason


def test_labels_are_unique() -> None:
    assert len({row[0] for row in ROWS}) == len(ROWS)


def test_a_code_stands_once_in_a_file() -> None:
    assert [each[:2] for each in refusals(TABLE + TABLE)] == [("gateway[1].code", 11)]


def test_every_problem_of_every_table_is_told_at_once() -> None:
    content = TABLE.replace("on_message", "never").replace("127.0.0.0/8", "127.0.0.1/8").replace(SECRET, "env:")
    content += TABLE.replace('"hub"', '"H"')

    assert [each[0] for each in refusals(content)] == [
        "gateway[0].charging",
        "gateway[0].networks[0]",
        "gateway[0].secrets[0]",
        "gateway[1].code",
    ]


def test_what_is_stored_holds_no_secret_in_clear() -> None:
    content = TABLE.replace(f'["{SECRET}"]', f'["{SECRET}", "env:HUB_SECRET"]') + 'path_secret = "in-the-path"\n'

    (gateway,) = prepare(content)

    stored = json.dumps(gateway.settings)
    assert SECRET not in stored
    assert "in-the-path" not in stored
    assert gateway.settings["secrets"][1] == {"env": "HUB_SECRET"}
    assert set(gateway.settings["secrets"][0]) == {"sealed", "digest"}


def test_a_digest_tells_a_changed_secret_and_nothing_else() -> None:
    def digest(content: str) -> str:
        return str(prepare(content)[0].settings["secrets"][0]["digest"])

    assert digest(TABLE) == digest(TABLE)
    assert digest(TABLE) != digest(TABLE.replace(SECRET, OTHER_SECRET))
    # The same secret in another account has another digest, so that nobody sees that it is the same.
    assert digest(TABLE) != digest(TABLE.replace('"hub"', '"hub-2"'))


def test_a_sealed_secret_cannot_be_moved_to_another_account() -> None:
    (gateway,) = prepare(TABLE)
    moved = AccountRow(1, "thief", "standard", "viettel", "on_message", ("127.0.0.0/8",), True, gateway.settings)

    assert "does not open" in loaded_row(moved).problems[0]


def loaded_row(row: AccountRow, environ: Mapping[str, str] | None = None) -> LoadedAccounts:
    return load_accounts([row], SEALER.unseal, environ or {})


def test_an_account_serves_with_its_secrets() -> None:
    found = account(TABLE.replace(f'["{SECRET}"]', f'["{SECRET}", "env:NEXT"]'), {"NEXT": OTHER_SECRET})

    assert (found.is_usable, found.problem, found.id, found.carrier) == (True, None, 1, "viettel")
    for secret in (SECRET, OTHER_SECRET):
        found.gateway.verify(callback(secret=secret))
    with pytest.raises(SignatureRejected):
        found.gateway.verify(callback())


# label, keys of an account with several secrets, environment, what is left out
SEVERAL = [
    ("a variable that is not set", f'secrets = ["{SECRET}", "env:GONE"]', {}, "GONE is not set"),
    ("the first of them", f'secrets = ["env:GONE", "{SECRET}"]', {}, "GONE is not set"),
    (
        "one of the wrong form",
        f'secrets = ["env:GONE", "{SECRET}"]',
        {"GONE": "whsec_short"},
        "GONE is set, but secrets ",
    ),
    ("a file", f'secrets = ["{SECRET}", "file:/nowhere/hub"]', {}, "/nowhere/hub cannot be read (No such file"),
]


@pytest.mark.parametrize(
    ("keys", "environ", "left_out"), [row[1:] for row in SEVERAL], ids=[row[0] for row in SEVERAL]
)
def test_of_several_secrets_those_that_can_be_had_are_used(keys: str, environ: dict[str, str], left_out: str) -> None:
    accounts = loaded(TABLE.replace(f'secrets = ["{SECRET}"]', keys), environ)
    found = accounts.by_code["hub"]

    assert (found.is_usable, accounts.problems, found.gateway.settings.secrets) == (True, (), (SECRET,))
    found.gateway.verify(callback(secret=SECRET))
    (warning,) = accounts.warnings
    assert warning.startswith(f"gateway hub: {left_out}")
    assert "whsec_short" not in warning


def test_a_secret_that_stands_alone_may_be_several_while_it_rotates() -> None:
    keys = 'path_secret = ["first", "env:NEXT"]'
    found = account(KANNEL.replace('path_secret = "a-path-secret"', keys), {"NEXT": "second"})
    assert found.problem is None
    for secret, is_right in (("first", True), ("second", True), ("third", False)):
        called = callback(path_secret=secret)
        if is_right:
            found.gateway.describe(called)
            found.gateway._require_factors(called)
        else:
            with pytest.raises(SignatureRejected):
                found.gateway._require_factors(called)


# label, settings beside code, adapter, carrier and charging; environment; callers known; callers not known
UNRESOLVED: list[tuple[str, str, str, dict[str, str], list[Callback], list[Callback]]] = [
    (
        "the network is left",
        "standard",
        'secrets = ["env:GONE"]\nnetworks = ["127.0.0.0/8"]',
        {},
        [callback(), callback(secret=SECRET)],
        [callback(peer="192.0.2.1"), callback(peer="::1")],
    ),
    (
        "an empty variable is not set",
        "standard",
        'secrets = ["env:GONE"]\nnetworks = ["127.0.0.0/8"]',
        {"GONE": ""},
        [callback()],
        [callback(peer="192.0.2.1")],
    ),
    (
        "the path is left",
        "standard",
        'secrets = ["env:GONE"]\npath_secret = "right"',
        {},
        [callback(path_secret="right")],
        [callback(), callback(path_secret="wrong"), callback(path_secret="\ud800")],
    ),
    (
        "the path and the network are left, and both are asked for",
        "standard",
        'secrets = ["env:GONE"]\npath_secret = "right"\nnetworks = ["127.0.0.0/8"]',
        {},
        [callback(path_secret="right")],
        [callback(), callback(path_secret="right", peer="192.0.2.1")],
    ),
    (
        "the signature is left",
        "standard",
        f'secrets = ["{SECRET}"]\npath_secret = "env:GONE"',
        {},
        [callback(secret=SECRET), callback(secret=SECRET, path_secret="any")],
        [callback(), callback(secret=OTHER_SECRET)],
    ),
    (
        "nothing is left",
        "standard",
        'secrets = ["env:GONE"]\npath_secret = "env:GONE_TOO"',
        {},
        [],
        [callback(), callback(secret=SECRET, path_secret="x")],
    ),
    (
        "a variable of the wrong form",
        "standard",
        'secrets = ["env:GONE"]\nnetworks = ["127.0.0.0/8"]',
        {"GONE": "whsec_short"},
        [callback()],
        [callback(peer="192.0.2.1")],
    ),
    (
        "a protocol without credentials",
        "kannel",
        'path_secret = "env:GONE"\nnetworks = ["127.0.0.0/8"]',
        {},
        [callback(), callback(path_secret="x")],
        [callback(peer="192.0.2.1")],
    ),
    (
        "a password",
        "vn_soap_mo",
        'dialect = "receiverMO"\nuser = "hub"\npassword = "env:GONE"\nnetworks = ["127.0.0.0/8"]',
        {},
        [callback()],
        [callback(peer="192.0.2.1")],
    ),
]


@pytest.mark.parametrize(
    ("adapter", "keys", "environ", "known", "unknown"),
    [row[1:] for row in UNRESOLVED],
    ids=[row[0] for row in UNRESOLVED],
)
def test_an_account_without_its_secret_knows_whom_to_answer(
    adapter: str, keys: str, environ: dict[str, str], known: list[Callback], unknown: list[Callback]
) -> None:
    table = (
        f'[[gateway]]\ncode = "hub"\nadapter = "{adapter}"\ncarrier = "viettel"\ncharging = "on_message"\n{keys}\n'
    )
    accounts = loaded(table, environ)
    found = accounts.by_code["hub"]

    assert not found.is_usable
    assert "GONE is " in str(found.problem)
    assert accounts.problems == (f"gateway hub: {found.problem}",)
    assert "whsec_short" not in str(found.problem)
    assert [found.knows(each) for each in known] == [True] * len(known)
    assert [found.knows(each) for each in unknown] == [False] * len(unknown)
    # It can say so in its protocol's words, but opens nothing.
    assert found.gateway.respond(Result(outcome=Outcome.UNAVAILABLE, now=NOW)).status >= 500
    with pytest.raises(SignatureRejected):
        found.gateway.open(known[0] if known else unknown[0], b"")


def test_unresolved_labels_are_unique() -> None:
    assert len({row[0] for row in UNRESOLVED}) == len(UNRESOLVED)


BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("settings of another version", {"secrets": [{"env": "X"}], "old_key": 1}, "do not fit this version"),
    ("one factor", {"secrets": [{"env": "X"}]}, "fewer than two factors"),
]


@pytest.mark.parametrize(("settings", "problem"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_row_that_cannot_serve_is_a_problem_and_no_error(settings: dict[str, Any], problem: str) -> None:
    networks = ("127.0.0.0/8",) if "old_key" in settings else ()
    row = AccountRow(1, "hub", "standard", "viettel", "on_message", networks, True, settings)

    accounts = loaded_row(row, {"X": SECRET})

    assert problem in accounts.problems[0]
    assert not accounts.by_code["hub"].is_usable


def test_an_adapter_of_another_version_is_a_problem() -> None:
    accounts = loaded_row(AccountRow(1, "hub", "gone", "viettel", "on_message", (), True, {}))

    assert accounts.by_code == {}
    assert "gateway hub: adapter gone" in accounts.problems[0]


def test_every_protocol_can_be_prepared_and_loaded() -> None:
    for adapter in ADAPTERS:
        word = SECRET if adapter == "standard" else "word"
        accounts = loaded(account_table(adapter, ["env:A"]), {"A": word})
        assert accounts.by_code[code_of(adapter)].problem is None


CHARGED = """
[[gateway]]
code = "texts"
adapter = "vn_http_get"
carrier = "viettel"
charging = "on_report"
dialect = "txid"
path_secret = "way"
networks = ["127.0.0.0/8"]
"""
PAYMENTS = """
[[gateway]]
code = "payments"
adapter = "camara_billing"
carrier = "viettel"
charging = "on_report"
messages_of = "texts"
secrets = ["a-token"]
networks = ["127.0.0.0/8"]
"""


def test_an_account_counts_on_report_where_another_of_the_file_reports() -> None:
    assert [each.charging for each in prepare(CHARGED + PAYMENTS)] == ["on_report", "on_report"]
    with pytest.raises(ApplyRefused, match="on_report needs a protocol that reports charges"):
        prepare(CHARGED)


def test_charges_are_stored_under_the_account_of_their_messages() -> None:
    rows = [
        AccountRow(number, each.code, each.adapter, each.carrier, each.charging, each.networks, True, each.settings)
        for number, each in enumerate(prepare(CHARGED + PAYMENTS))
    ]
    texts, payments = load_accounts(rows, SEALER.unseal, {}).by_code.values()
    assert (texts.events_id, payments.events_id, payments.problem) == (0, 0, None)
    lonely = load_accounts(rows[1:], SEALER.unseal, {}).by_code["payments"]
    assert lonely.problem == "messages_of names texts, which is no account; apply that one too"


async def test_accounts_come_back_from_the_database(connection: asyncpg.Connection) -> None:
    content = TABLE + 'path_secret = "way"\ncarriers = {vnp1 = "vinaphone"}\n'
    file = load(content.encode())
    await apply_changes(connection, file, prepare(content), now=NOW)

    assert (await apply_changes(connection, file, prepare(content), now=NOW)).changes.lines == []
    (row,) = await load_account_rows(connection)
    assert (row.code, row.adapter, row.networks, row.enabled) == ("hub", "standard", ("127.0.0.0/8",), True)
    found = load_accounts([row], SEALER.unseal, {}).by_code["hub"]
    assert found.problem is None
    assert (found.gateway.settings.path_secret, found.gateway.settings.secrets) == (("way",), (SECRET,))
    assert found.gateway.settings.carriers == {"vnp1": "vinaphone"}
