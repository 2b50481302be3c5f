"""Roles and acts: one table says who may do what. Every address of the desk stands for one act."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Role(StrEnum):
    """What somebody is at the desk."""

    OPERATOR = "operator"
    MANAGER = "manager"
    """Of one or more organisations: sees and does only what is theirs."""
    FINANCE = "finance"
    AUDITOR = "auditor"
    PRESS = "press"
    ADMIN = "admin"


class Act(StrEnum):
    """What can be done at the desk."""

    ENTER = "enter"
    """Reach the door: whoever comes."""
    PROVE = "prove"
    """Show the second factor, choose a password: whoever has shown a right password."""
    OWN_ACCOUNT = "own_account"
    SEE_FIGURES = "see_figures"
    SEE_LISTS = "see_lists"
    """What people work: what did not count, what waits. Numbers are masked."""
    READ_PERSONS = "read_persons"
    """A number, a text, a callback as it came: one at a time, for a reason, which is recorded."""
    SEE_PROPOSALS = "see_proposals"
    PROPOSE = "propose"
    ACT_AT_ONCE = "act_at_once"
    """Put a change of the book into force alone, in an emergency: it waits for somebody else to confirm it."""
    REPLAY = "replay"
    """Callbacks of the quarantine, into the totals: each event counts once, whoever replays it."""
    APPROVE = "approve"
    """What somebody else proposed: the database refuses whoever made or proposed it."""
    EXPORT_TOTALS = "export_totals"
    """Sums by time and carrier as a file: what the public sees too."""
    EXPORT_FACTS = "export_facts"
    """Messages without persons, and money lines."""
    SEE_AUDIT = "see_audit"
    EXPORT_AUDIT = "export_audit"
    SEE_PEOPLE = "see_people"
    MANAGE_PEOPLE = "manage_people"


EVERYBODY = frozenset(Role)
RIGHTS: Mapping[Act, frozenset[Role]] = MappingProxyType(
    {
        Act.ENTER: EVERYBODY,
        Act.PROVE: EVERYBODY,
        Act.OWN_ACCOUNT: EVERYBODY,
        Act.SEE_FIGURES: EVERYBODY,
        Act.SEE_LISTS: frozenset({Role.OPERATOR, Role.MANAGER, Role.FINANCE, Role.AUDITOR}),
        Act.READ_PERSONS: frozenset({Role.OPERATOR, Role.AUDITOR}),
        Act.SEE_PROPOSALS: frozenset({Role.OPERATOR, Role.MANAGER, Role.FINANCE, Role.AUDITOR}),
        Act.PROPOSE: frozenset({Role.OPERATOR, Role.MANAGER}),
        Act.ACT_AT_ONCE: frozenset({Role.OPERATOR}),
        Act.REPLAY: frozenset({Role.OPERATOR}),
        Act.APPROVE: frozenset({Role.OPERATOR, Role.MANAGER, Role.FINANCE}),
        Act.EXPORT_TOTALS: EVERYBODY,
        Act.EXPORT_FACTS: frozenset({Role.OPERATOR, Role.MANAGER, Role.FINANCE, Role.AUDITOR}),
        Act.SEE_AUDIT: frozenset({Role.AUDITOR, Role.ADMIN}),
        Act.EXPORT_AUDIT: frozenset({Role.AUDITOR}),
        Act.SEE_PEOPLE: frozenset({Role.AUDITOR, Role.ADMIN}),
        Act.MANAGE_PEOPLE: frozenset({Role.ADMIN}),
    }
)
"""Act by role. An act without a row stops the start."""
SCOPES = (
    Act.SEE_FIGURES, Act.SEE_LISTS, Act.SEE_PROPOSALS, Act.PROPOSE, Act.APPROVE, Act.REPLAY, Act.EXPORT_TOTALS,
    Act.EXPORT_FACTS, Act.SEE_AUDIT, Act.SEE_PEOPLE,
)  # fmt: skip
"""What a token may be made for. Of them a person may give what their own role may do."""

assert RIGHTS.keys() == set(Act)  # noqa: S101 -- each act has its row


def may(role: Role, act: Act) -> bool:
    """Whether a role may do an act."""
    return role in RIGHTS[act]
