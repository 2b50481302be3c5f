"""What the simulator does not do, and the sentence it says instead."""

import argparse
import base64
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.commands.simulate import add_arguments, faults_of
from service.simulator.links import links_of
from service.simulator.message import Fault
from service.simulator.options import Options, require_sane, require_target
from service.simulator.refused import SimulateRefused
from tests.support.protocols import account_table
from tests.support.simulated import PEER, SECRET, STANDARD

SIGNS = {"public_keys": ["whpk_" + base64.b64encode(bytes(32)).decode()]}


def test_faults_are_read_as_shares() -> None:
    assert faults_of("duplicates=.05,conflicts=.01") == {Fault.DUPLICATES: 0.05, Fault.CONFLICTS: 0.01}
    assert faults_of("none") == {}


HTTP = {"adapter": "vn_http_get", "dialect": "ddviet"}
REPLIES = {
    "reply_url": "http://198.51.100.1/", "reply_user": "portal", "reply_password": "word",
    "reply_free": {"binfo": "0"}, "reply_charged": {"binfo": "20000"},
}  # fmt: skip


def refused_links(**changes: Any) -> Callable[[], object]:
    """Ask for the links of a changed account; of another protocol its secret is a step of the address."""
    table = {**STANDARD, **changes}
    if table["adapter"] != "standard":
        del table["secrets"]
        table["path_secret"] = "a-path-secret"
    return lambda: links_of([table], (table["adapter"],), {}, (PEER,))


REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "unknown fault": (lambda: faults_of("rain=.1"), "rain is unknown"),
    "no share": (lambda: faults_of("late"), "late needs a share"),
    "share above 1": (lambda: faults_of("late=2"), "late needs a share"),
    "not a number": (lambda: faults_of("late=nan"), "late needs a share"),
    "twice": (lambda: faults_of("late=.1,late=.2"), "twice"),
    "too many together": (lambda: faults_of("wrong=.6,unknown=.6"), "more than 1 together"),
    "another machine": (lambda: require_target("http://portal.example", is_own_server=False), "is not this machine"),
    "no address": (lambda: require_target("portal:1400", is_own_server=True), "is no address"),
    "unknown profile": (lambda: require_sane(Options(profile="tet")), "tet is unknown"),
    "no rate": (lambda: require_sane(Options(rate=0)), "--rate"),
    "a replay with wrong texts": (
        lambda: require_sane(Options(profile="covid-2020", faults={Fault.WRONG: 0.1})),
        "would change what covid-2020",
    ),
    "networks without this machine": (refused_links(networks=["203.0.113.0/24"]), "add 127.0.0.0/8"),
    "disabled": (refused_links(enabled=False), "disabled"),
    "charging by reports of nobody": (
        refused_links(**HTTP, charging="on_report"), "no account of the file reports those charges"
    ),
    "charging by a call of ours": (
        refused_links(adapter="kannel", charging="on_reply", **REPLIES), "its hub is not at this machine"
    ),
    "a secret that is not set": (refused_links(secrets=["env:HUB_SECRET"]), "set HUB_SECRET"),
    "a secret that is none": (refused_links(secrets=["whsec_AA=="]), "`portal1400 apply` says which"),
    "proofs that only the carrier can make": (
        lambda: links_of([{key: value for key, value in STANDARD.items() if key != "secrets"} | SIGNS], (), {}, ()),
        "a key that only the carrier has",
    ),
    "no such account": (lambda: links_of([], ("kannel",), {}, ()), "no [[gateway]] that can be played for kannel"),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "sentence"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_played_is_refused_with_a_sentence(ask: Callable[[], object], sentence: str) -> None:
    with pytest.raises(SimulateRefused) as refused:
        ask()
    assert sentence in str(refused.value)
    assert SECRET not in str(refused.value)


def test_an_account_whose_messages_come_with_their_charge_is_played() -> None:
    (table,) = tomllib.loads(account_table("onepay", ["word"]))["gateway"]
    assert table["charging"] == "on_report"
    assert [link.protocol for link in links_of([table], (), {}, (PEER,))[0]] == ["onepay"]


def test_one_s_own_server_is_allowed_when_that_is_said() -> None:
    assert require_target("https://portal.example/base", is_own_server=True) == ()
    assert PEER in require_target("http://localhost:1400", is_own_server=False)


def test_a_secret_of_the_environment_is_looked_up_there() -> None:
    gateway = {**STANDARD, "secrets": ["env:HUB_SECRET"]}
    ((link,), notes) = links_of([gateway], (), {"HUB_SECRET": SECRET}, (PEER,))
    assert notes == ()
    assert SECRET not in repr(link)


def test_a_secret_in_a_file_is_read_there(tmp_path: Path) -> None:
    gateway = {**STANDARD, "secrets": [f"file:{tmp_path}/hub"]}
    with pytest.raises(SimulateRefused, match="cannot be read here"):
        links_of([gateway], (), {}, (PEER,))
    (tmp_path / "hub").write_text(SECRET + "\n", encoding="utf-8")
    ((link,), notes) = links_of([gateway], (), {}, (PEER,))
    assert (notes, link.settings.model_dump()["secrets"]) == ((), (SECRET,))


def test_the_command_knows_every_option_of_the_contract() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    protocols = ["--protocol", "kannel", "standard", "--protocol", "vn_soap_mo"]
    rest = ["--rate", "5", "--seconds", "2", "--seed", "3", "--faults", "none", "--json"]
    parsed = parser.parse_args(["--target", "http://127.0.0.1:1", "--book", "b.toml", *protocols, *rest])
    assert parsed.protocol == ["kannel", "standard", "vn_soap_mo"]
    with pytest.raises(SystemExit):
        parser.parse_args(["--target", "x", "--book", "b", "--seconds", "2", "--profile", "evening"])
