"""Whether the series API shows a replayed drive's published figures at the moments they were published for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from service.simulator.posting import Poster
from service.simulator.profiles import PROFILES, Profile, Target, targets
from service.simulator.refused import SimulateRefused
from service.simulator.tally import Figures

# From the opening of 2020 to its last figure are 27,180 minutes, and 50,000 points are what one answer may hold.
BUCKET = "minute"


@dataclass(frozen=True, slots=True)
class Moment:
    """One published moment: what must have been sent before it, and what the series sums up to."""

    target: Target
    shown: Figures

    @property
    def is_right(self) -> bool:
        """Whether money, units and messages are those of the replay, to the last one."""
        expected = self.target
        return self.shown == Figures(expected.messages, expected.units, expected.vnd)

    def document(self) -> dict[str, Any]:
        """The moment as a JSON object."""
        expected, shown = self.target, self.shown
        return {
            "at": expected.at.isoformat(),
            "equal": self.is_right,
            "expected": {"messages": expected.messages, "units": expected.units, "pledged_vnd": expected.vnd},
            "shown": {"messages": shown.messages, "units": shown.units, "pledged_vnd": shown.vnd},
        }

    def line(self) -> str:
        """The moment in words."""
        expected, shown = self.target, self.shown
        source = "published" if expected.is_message_count_published else "interpolated"
        return (
            f"{expected.at.isoformat(timespec='minutes')}  {expected.vnd:>16,} VND  {expected.units:>10,} units  "
            f"{expected.messages:>9,} messages ({source})  "
            + (
                "equal"
                if self.is_right
                else f"SHOWN: {shown.vnd:,} VND, {shown.units:,} units, {shown.messages:,} messages"
            )
        )


async def check_series(target: str, profile_name: str, scale: int) -> tuple[Moment, ...]:
    """Read the series of the profile's campaign and sum it up to each of its moments.

    Raises SimulateRefused where the profile has no published figures or the target cannot answer.
    """
    profile = PROFILES.get(profile_name)
    if profile is None:
        raise SimulateRefused(f"--check-series needs --profile with one of {', '.join(PROFILES)}")
    if scale < 1:
        raise SimulateRefused("--scale must be a whole number of at least 1")
    async with Poster(target, 1, 0.0) as poster:
        document = await poster.document(_address(profile))
    return tuple(_moments(profile, scale, document))


def _address(profile: Profile) -> str:
    asked = {
        "bucket": BUCKET,
        "from": profile.opens_at.isoformat(),
        "to": profile.published[-1].at.isoformat(),
    }
    return f"/api/v1/campaigns/{profile.campaign}/series?{urlencode(asked)}"


def _moments(profile: Profile, scale: int, document: Any) -> Iterator[Moment]:
    try:
        points = [
            (datetime.fromisoformat(point["at"]), Figures(point["messages"], point["units"], point["pledged_vnd"]))
            for point in document["points"]
        ]
    except (KeyError, TypeError, ValueError):
        raise SimulateRefused("the target's series is not a portal's: is --target the public listener?") from None
    for target in targets(profile, scale):
        shown = Figures()
        for at, figures in points:
            if at < target.at:
                shown += figures
        yield Moment(target, shown)
