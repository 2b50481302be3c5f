"""What an apply file says, once read: entries with their places; and what is wrong with it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from campaigns.book.book import Decision, Organisation, Route


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """Where in the file: the TOML path, and the line of the table's header (None: there is no header)."""

    toml_path: str
    line: int | None


@dataclass(frozen=True, slots=True)
class ApplyProblem:
    """One thing that keeps a file from being applied; `reason` says what to do. Holds no secret."""

    toml_path: str
    line: int | None
    reason: str


class ApplyRefused(Exception):
    """The file was not applied, for every reason in `problems`. Its text is a line for each."""

    def __init__(self, name: str, problems: Iterable[ApplyProblem]) -> None:
        self.name = name
        self.problems = tuple(problems)
        super().__init__("\n".join(self._line(problem) for problem in self.problems))

    def _line(self, problem: ApplyProblem) -> str:
        place = self.name if problem.line is None else f"{self.name}:{problem.line}"
        return f"{place} {problem.toml_path}: {problem.reason}" if problem.toml_path else f"{place}: {problem.reason}"


@dataclass(frozen=True, slots=True)
class OrganisationEntry:
    """An `[[organisation]]`."""

    place: SourcePosition
    organisation: Organisation


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """A `[[campaign.route]]`, keywords folded."""

    place: SourcePosition
    route: Route


@dataclass(frozen=True, slots=True)
class CampaignEntry:
    """A `[[campaign]]` with its routes. None in `name_en`, `goal_vnd` and the decision: the file is silent."""

    place: SourcePosition
    slug: str
    name_vi: str
    name_en: str | None
    category: str
    organiser: str
    goal_vnd: int | None
    decision: Decision
    routes: tuple[RouteEntry, ...]


@dataclass(frozen=True, slots=True)
class GatewayEntry:
    """A `[[gateway]]` as it stands in the file; secrets in it are still in clear."""

    place: SourcePosition
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ApplyFile:
    """A file that is right by itself. `name` is how refusals call it."""

    name: str
    sha256: bytes
    organisations: tuple[OrganisationEntry, ...]
    campaigns: tuple[CampaignEntry, ...]
    gateways: tuple[GatewayEntry, ...]


@dataclass(frozen=True, slots=True)
class PreparedGateway:
    """A `[[gateway]]` that was found right, in the form that is stored.

    A secret in `settings` is {"env": NAME}, or {"sealed": base64, "digest": hex}. Sealing is random, so that
    whether a secret changed is asked of the keyed digest. `enabled` None: the file is silent.
    """

    code: str
    adapter: str
    carrier: str
    charging: str
    networks: tuple[str, ...]
    enabled: bool | None
    settings: Mapping[str, Any]
