"""What a simulation is asked for, and whether that can be meant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from service.simulator.links import Peer
from service.simulator.message import Fault
from service.simulator.profiles import PROFILES
from service.simulator.refused import SimulateRefused

EVENING = "evening"
PROFILE_NAMES = (EVENING, *PROFILES)
DEFAULT_RATE = 25.0
"""1,500 messages in the first minute of the 2019 drive."""
DEFAULT_SECONDS = 60.0
DEFAULT_SEED = 1400
DEFAULT_SCALE = 1
RETRY_SECONDS = 30.0
SETTLE_SECONDS = 10.0

DEFAULT_FAULTS: Mapping[Fault, float] = {
    Fault.WRONG: 0.03,
    Fault.UNKNOWN: 0.005,
    Fault.DUPLICATES: 0.01,
    Fault.CONFLICTS: 0.001,
    Fault.DISCONNECT: 0.002,
}
REPLAY_FAULTS = frozenset({Fault.DUPLICATES, Fault.CONFLICTS, Fault.DISCONNECT})
"""What a replay of published figures can bear without changing them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is to be played. `rate` is messages a second in the mean; `seconds` None: until `stop` is set.

    `faults` None: the usual ones of an evening, none in a replay. `run` names the ids (digits); None: drawn anew.
    """

    protocols: Sequence[str] = ()
    rate: float = DEFAULT_RATE
    seconds: float | None = DEFAULT_SECONDS
    profile: str | None = None
    scale: int = DEFAULT_SCALE
    seed: int = DEFAULT_SEED
    faults: Mapping[Fault, float] | None = None
    run: str | None = None
    is_own_server: bool = False
    retry_seconds: float = RETRY_SECONDS
    settle_seconds: float = SETTLE_SECONDS


def require_target(target: str, *, is_own_server: bool) -> tuple[Peer, ...]:
    """From which addresses `target` may see us come; empty where that is not known.

    Raises SimulateRefused where it is no address, or not this machine and nobody said that it may be used.
    """
    parts = urlsplit(target)
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise SimulateRefused("--target is no address: write it like http://127.0.0.1:1400")
    if host == "localhost":
        return ip_address("127.0.0.1"), ip_address("::1")
    try:
        address = ip_address(host)
    except ValueError:
        address = None
    if address is not None and address.is_loopback:
        return (address, ip_address("127.0.0.1")) if address.version == 4 else (address,)
    if not is_own_server:
        raise SimulateRefused(
            f"{host} is not this machine, and simulated gifts would be counted there as real ones: "
            "if that portal is yours and holds no real money, add --yes-this-is-my-own-server"
        )
    return ()


def require_sane(options: Options) -> None:
    if options.profile is not None and options.profile not in PROFILE_NAMES:
        raise SimulateRefused(f"--profile {options.profile} is unknown: use one of {', '.join(PROFILE_NAMES)}")
    if not 0 < options.rate <= 100_000:
        raise SimulateRefused("--rate must be above 0 and at most 100000 messages a second")
    if options.seconds is not None and not 0 < options.seconds <= 7 * 86_400:
        raise SimulateRefused("--seconds must be above 0 and at most a week (604800)")
    if options.scale < 1:
        raise SimulateRefused("--scale must be a whole number of at least 1")
    if options.profile in PROFILES:
        wrong = sorted(
            fault for fault, share in (options.faults or {}).items() if share and fault not in REPLAY_FAULTS
        )
        if wrong:
            raise SimulateRefused(
                f"--faults {', '.join(wrong)} would change what {options.profile} replays: "
                f"with it use only {', '.join(sorted(REPLAY_FAULTS))}"
            )
