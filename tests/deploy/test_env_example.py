"""deploy/env.example names exactly the settings there are, with exactly their defaults and limits."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.runtime.settings import PREFIX, Settings, SettingsRefused, read_settings

FILE = Path(__file__).parents[2] / "deploy" / "env.example"
KEY = "a key for tests, long enough to be one"
UNITS = {"_seconds": "seconds", "_days": "days", "_events_max": "events", "_callbacks_max": "callbacks"}
_ASSIGNMENT = re.compile(r"(#?)([A-Z][A-Z0-9_]*)=(.*)")


@dataclass(frozen=True)
class Line:
    """One variable of the file: whether its line is commented out, and the comment above it."""

    is_commented: bool
    value: str
    comment: str


def variables() -> dict[str, Line]:
    found: dict[str, Line] = {}
    comment: list[str] = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if match := _ASSIGNMENT.fullmatch(line):
            assert match[2] not in found, f"{match[2]} stands there twice"
            found[match[2]] = Line(match[1] == "#", match[3], " ".join(comment))
            comment = []
        elif line.startswith("# "):
            comment.append(line[2:])
        else:
            assert line in {"", "#"}, f"neither comment nor variable: {line}"
            comment = []
    return found


def test_it_names_exactly_the_settings_that_exist() -> None:
    assert set(variables()) == {PREFIX + name.upper() for name in Settings.model_fields}


def test_only_the_secret_key_is_to_be_filled_in() -> None:
    lines = variables()
    assert [name for name, line in lines.items() if not line.is_commented] == [f"{PREFIX}SECRET_KEY"]
    assert "openssl rand -hex 32" in lines[f"{PREFIX}SECRET_KEY"].comment
    assert all(not line.value for name, line in lines.items() if name.endswith(("_KEY", "_URL")))


def test_with_a_key_it_is_accepted_and_without_one_it_is_not() -> None:
    active = {name: line.value for name, line in variables().items() if not line.is_commented}
    with pytest.raises(SettingsRefused, match="SECRET_KEY"):
        read_settings(active)
    assert read_settings(active | {f"{PREFIX}SECRET_KEY": KEY}) == Settings.model_validate({"secret_key": KEY})


def test_every_commented_value_is_the_default() -> None:
    """Uncommenting all of them changes nothing. An empty value stands where nothing is the default."""
    lines = variables()
    for name, field in Settings.model_fields.items():
        assert bool(lines[PREFIX + name.upper()].value) == (field.default not in (None, ())), name
    given = {name: line.value for name, line in lines.items() if line.value}
    given[f"{PREFIX}SECRET_KEY"] = KEY
    assert read_settings(given) == Settings.model_validate({"secret_key": KEY})


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_comment_is_a_sentence_with_the_unit_and_the_limits(name: str) -> None:
    comment = variables()[PREFIX + name.upper()].comment
    assert comment[:1].isupper()
    assert "." in comment
    for ending, unit in UNITS.items():
        if name.endswith(ending):
            assert unit in comment
    numbers = re.findall(r"\d+", comment)
    for limit in Settings.model_fields[name].metadata:
        for bound in (getattr(limit, kind, None) for kind in ("ge", "gt", "le", "lt")):
            assert bound is None or str(bound) in numbers, f"the limit {bound} is not told"
