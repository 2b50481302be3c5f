"""What came of each case: as lines for people, as JSON and as JUnit's XML."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal
from xml.etree import ElementTree as Xml  # writes only

State = Literal["passed", "failed", "skipped"]
MARKS: dict[State, str] = {"passed": "pass", "failed": "FAIL", "skipped": "skip"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was sent, and what was answered: both without secrets and numbers."""

    sent: str
    answered: str


@dataclass(slots=True)
class CaseResult:
    """One case. `reason`: why it failed or was left out, in a sentence."""

    group: str
    name: str
    says: str
    state: State = "passed"
    reason: str = ""
    seconds: float = 0.0
    exchanges: list[Exchange] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """For people: a line, and where it failed what was sent and answered."""
        yield f"{MARKS[self.state]}  {self.group}: {self.name}" + (f" ({self.reason})" if self.reason else "")
        if self.state == "failed":
            yield f"      wanted   {self.says}"
            for exchange in self.exchanges:
                yield f"      sent     {exchange.sent}"
                yield f"      answered {exchange.answered}"


@dataclass(frozen=True, slots=True)
class Report:
    """All cases of one account, in the order in which they were played."""

    account: str
    protocol: str
    target: str
    cases: Sequence[CaseResult]

    def count(self, state: State) -> int:
        """How many ended so."""
        return sum(case.state == state for case in self.cases)

    @property
    def is_right(self) -> bool:
        """Whether none failed, and any passed."""
        return self.count("failed") == 0 and self.count("passed") > 0

    def summary(self) -> str:
        """For people, in a line."""
        counts = ", ".join(f"{self.count(state)} {state}" for state in MARKS)
        link = f"{self.account} ({self.protocol}) at {self.target}"
        return f"{counts}: {link} {'is right' if self.is_right else 'is not right yet'}"

    def document(self) -> dict[str, object]:
        """The same with every exchange, for a program."""
        return {
            "account": self.account,
            "protocol": self.protocol,
            "target": self.target,
            "right": self.is_right,
            "counts": {state: self.count(state) for state in MARKS},
            "cases": [
                {
                    "group": case.group,
                    "name": case.name,
                    "says": case.says,
                    "state": case.state,
                    "reason": case.reason,
                    "seconds": round(case.seconds, 3),
                    "exchanges": [{"sent": each.sent, "answered": each.answered} for each in case.exchanges],
                }
                for case in self.cases
            ],
        }

    def junit(self) -> bytes:
        """The same as JUnit's XML, which build servers read."""
        suite = Xml.Element(
            "testsuite",
            name=f"portal1400 conformance {self.account}",
            tests=str(len(self.cases)),
            failures=str(self.count("failed")),
            skipped=str(self.count("skipped")),
            time=f"{sum(case.seconds for case in self.cases):.3f}",
        )
        for case in self.cases:
            classname = f"{self.protocol}.{case.group}"
            found = Xml.SubElement(suite, "testcase", classname=classname, name=case.name, time=f"{case.seconds:.3f}")
            if case.state == "skipped":
                Xml.SubElement(found, "skipped", message=_printable(case.reason))
            if case.state == "failed":
                told = [f"wanted: {case.says}"]
                told += [f"sent: {each.sent}\nanswered: {each.answered}" for each in case.exchanges]
                Xml.SubElement(found, "failure", message=_printable(case.reason)).text = _printable("\n".join(told))
        return bytes(Xml.tostring(suite, encoding="utf-8", xml_declaration=True))


def _printable(text: str) -> str:
    """Without what XML 1.0 forbids."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
