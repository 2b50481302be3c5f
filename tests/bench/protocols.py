"""What each protocol costs: the processor time of one callback from verifying to the answer, against `standard`.

The gateway alone, in one thread; what comes after it (reading the text, sealing, storing) is the same for all. Rounds
of all protocols alternate, so that a slow moment of the machine strikes them alike.
"""

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gateways.account import Account
from gateways.callback import Callback
from gateways.gateway import Gateway
from gateways.outcome import Outcome, Result
from gateways.registry import ADAPTERS
from gateways.sender import Sms
from gateways.wire.signatures import new_secret
from tests.gateways.calls import KEY, LOOPBACK, received
from tests.support.protocols import code_of, settings_of, speaker

ROUNDS, CALLBACKS = 15, 300
NAMED = "standard"


class Played(NamedTuple):
    """A protocol's gateway, and one callback of its sender."""

    gateway: Gateway[Any]
    callback: Callback


def played(name: str) -> Played:
    """One message of five units over an account of protocol `name`."""
    secret = new_secret() if name == NAMED else "a-secret"
    now = datetime.now(UTC).replace(microsecond=0)
    sms = Sms(0, "77000000001", "84950000001", "1408", "VNN 5", "VNN", "viettel", None, now, amount_vnd=100_000)
    account = Account(code_of(name), "viettel", LOOPBACK, settings_of(name, [secret]))
    sent = speaker(name, secret).request([sms], now)
    return Played(ADAPTERS[name](account), received(sent, received_at=now))


def microseconds(of: Played) -> float:
    """Processor time of one callback, the mean of CALLBACKS."""
    gateway, callback = of
    started = time.process_time()
    for _ in range(CALLBACKS):
        events = gateway.open(callback, KEY)
        gateway.respond(Result(outcome=Outcome.ACCEPTED, now=callback.received_at, events=events))
    return (time.process_time() - started) / CALLBACKS * 1e6


def measured() -> Iterator[tuple[str, float, float]]:
    """Each protocol with its median in microseconds, and what that is of `standard`."""
    all_played = {name: played(name) for name in ADAPTERS}
    rounds = [{name: microseconds(each) for name, each in all_played.items()} for _ in range(ROUNDS)]
    for name in ADAPTERS:
        ratio = statistics.median(one[name] / one[NAMED] for one in rounds)
        yield name, statistics.median(one[name] for one in rounds), ratio


def main() -> None:
    """Print the table, the cheapest first."""
    print(f"\n{'protocol':16} {'us of CPU':>10} {'of standard':>12}")
    for name, cost, ratio in sorted(measured(), key=lambda row: row[1]):
        print(f"{name:16} {cost:10.1f} {ratio:12.2f}")


if __name__ == "__main__":
    main()
