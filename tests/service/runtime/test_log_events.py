"""docs/logs.md names every event of the log, with its levels and keys, as the code writes them."""

import re

from service.runtime.logs import FORBIDDEN_KEYS, RESERVED_KEYS
from tests.support.log_events import MISSING, PACKAGES, PAGE, ROOT, ROW, events, up_to_date

NAMED_ELSEWHERE = {
    "service/intake/intake.py", "service/listeners/connection_limit.py", "service/listeners/overload.py",
    "service/listeners/turned_away.py", "service/live/feed.py", "service/runtime/supervisor.py",
    "service/runtime/tasks.py",
}  # fmt: skip
"""Where a line's name or level is no constant: OTHERS and WRITTEN_BY of log_events.py say what is written there."""


def test_the_page_is_what_the_code_writes() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == up_to_date(page), "run `make generate`, then write what a new event means"
    assert [name for name, sentence in ROW.findall(page) if sentence == MISSING] == [], (
        "an event waits for its sentence"
    )
    assert len(ROW.findall(page)) > 100


def test_no_event_is_written_where_it_is_not_sought() -> None:
    not_constant = re.compile(
        r"\b_?log\.(?:log|info|warning|error|critical)\(\s*[^\"\s]|\bwrite = (?:self\._)?_?log\."
    )
    found = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if not_constant.search(path.read_text(encoding="utf-8"))
    }
    assert found == NAMED_ELSEWHERE


def test_no_key_is_one_that_would_be_lost_or_redacted() -> None:
    for name, event in events().items():
        assert not event.keys & (FORBIDDEN_KEYS | RESERVED_KEYS), name
