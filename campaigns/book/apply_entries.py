"""What an apply file says, once read: entries with their places; and what is wrong with it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from campaigns.book.book import NO_REPLIES, Decision, Organisation, Replies, Route
from campaigns.book.sentences import Sentence, in_vietnamese

Charging = Literal["on_message", "on_reply", "on_report", "on_settlement"]
"""What makes a message of an account money; the same set as the gateways'."""
Language = Literal["en", "vi"]
"""The languages of sentences about a file."""

TABLES = {"organisation": "tổ chức", "campaign": "chiến dịch", "route": "cách nhắn", "gateway": "cổng"}
"""The tables of a file, as places are told in words in each language."""


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """Where a table stands in the file: its TOML path, its line, and the lines of its keys.

    `line` is that of the header, None where there is none.
    """

    toml_path: str
    line: int | None
    keys: Mapping[str, int] = field(default_factory=dict)

    def of(self, key: str) -> int | None:
        """The line of `key`; of the header where the table lacks the key."""
        return self.keys.get(key, self.line)


@dataclass(frozen=True, slots=True)
class ApplyProblem:
    """One thing that keeps a file from being applied; `reason` says what to do. Holds no secret.

    `line` is that of the key, or of the table's header where there is no such key.
    """

    toml_path: str
    line: int | None
    reason: str


def place_in_words(toml_path: str, language: Language = "en") -> str:
    """`campaign[1].route[0].unit_vnd` as one says it, counted from 1: campaign 2, route 1, unit_vnd."""
    words = []
    for step in toml_path.replace("]", "").split("."):
        name, _, position = step.partition("[")
        told = TABLES.get(name, name) if language == "vi" else name
        words.append(f"{told} {int(position) + 1}" if position.isdigit() else told)
    return ", ".join(words)


class ApplyRefused(Exception):
    """The file was not applied, for every reason in `problems`. Its text is a line for each, in English."""

    def __init__(self, name: str, problems: Iterable[ApplyProblem]) -> None:
        self.name = name
        self.problems = tuple(problems)
        super().__init__("\n".join(self.lines("en")))

    def lines(self, language: Language) -> list[str]:
        """A line for each problem: file, line, TOML path, the place in words where it is numbered, and the reason."""
        return [self._line(problem, language) for problem in self.problems]

    def _line(self, problem: ApplyProblem, language: Language) -> str:
        place = self.name if problem.line is None else f"{self.name}:{problem.line}"
        if problem.toml_path:
            place += f" {problem.toml_path}"
        if "[" in problem.toml_path:
            place += f" ({place_in_words(problem.toml_path, language)})"
        return f"{place}: {in_vietnamese(problem.reason) if language == 'vi' else problem.reason}"


@dataclass(frozen=True, slots=True)
class ApplyWarning:
    """Something in a file that can be meant and seldom is: applied only when a person says so."""

    toml_path: str
    line: int | None
    reason: Sentence


@dataclass(frozen=True, slots=True)
class OrganisationEntry:
    """An `[[organisation]]`."""

    place: SourcePosition
    organisation: Organisation


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """A `[[campaign.route]]`, keywords folded. `written`: the keywords as they stand in the file."""

    place: SourcePosition
    route: Route
    written: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WithdrawnRoute:
    """A `[[campaign.route]]` with `withdrawn = true`: its keywords no longer belong to the campaign."""

    place: SourcePosition
    short_code: str
    keywords: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CampaignEntry:
    """A `[[campaign]]` with its routes. None in `decision.number`: the file names none."""

    place: SourcePosition
    slug: str
    name_vi: str
    name_en: str | None
    category: str
    organiser: str
    goal_vnd: int | None
    decision: Decision
    routes: tuple[RouteEntry, ...]
    withdrawn_routes: tuple[WithdrawnRoute, ...] = ()
    replies: Replies = NO_REPLIES


@dataclass(frozen=True, slots=True)
class WithdrawnCampaign:
    """A `[[campaign]]` with `withdrawn = true`."""

    place: SourcePosition
    slug: str


@dataclass(frozen=True, slots=True)
class GatewayEntry:
    """A `[[gateway]]` as it stands in the file; secrets in it are still in clear."""

    place: SourcePosition
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ApplyFile:
    """A file that is right by itself. `name` is how refusals call it.

    `tables` are its organisations and campaigns as written, to be kept; gateways may hold secrets and are not there.
    """

    name: str
    sha256: bytes
    organisations: tuple[OrganisationEntry, ...]
    campaigns: tuple[CampaignEntry, ...]
    withdrawn: tuple[WithdrawnCampaign, ...]
    gateways: tuple[GatewayEntry, ...]
    tables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PreparedGateway:
    """A `[[gateway]]` that was found right, in the form that is stored.

    A secret in `settings` is a reference, or {"sealed": base64, "digest": hex}. Sealing is random, so that
    whether a secret changed is asked of the keyed digest.
    """

    code: str
    adapter: str
    carrier: str
    charging: Charging
    networks: tuple[str, ...]
    enabled: bool
    settings: Mapping[str, Any]
    test: bool = False
    """Whether what it sends is kept apart and never is money."""
    charges_uncounted: bool = False
    """Whether donors are answered over it with the campaign's texts, and a message costs them also where it does not
    count. Known of what a file names, and not stored."""

    @property
    def is_live(self) -> bool:
        """Whether messages over it may be money."""
        return self.enabled and not self.test
