"""Every sentence is complete in both languages."""

import ast
from pathlib import Path
from string import Formatter

from campaigns.book import faults, slips, unusual
from campaigns.book.vietnamese import VIETNAMESE
from gateways.events import CARRIERS

ROOT = Path(__file__).parents[3]
ROOMS = ("campaigns", "service")


def templates() -> set[str]:
    """Every text that `say` is given where it stands, and those that tables hold for it."""
    found = {text for _, text in slips.SLIPS} | {text for _, text in unusual.KEYWORD_RULES}
    found |= {text for _, _, text in unusual.WINDOW_RULES}
    found |= {*faults.SENTENCES.values(), *faults.PATTERN_SENTENCES.values()}
    for file in (file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
                first = node.args[0]
                told = (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,)
                found |= {
                    each.value for each in told if isinstance(each, ast.Constant) and isinstance(each.value, str)
                }
    return found


def of_protocols() -> set[str]:
    """What protocols refuse settings with: they know no table, so their English is what it is looked up by."""
    found = {f"each value must be one of {', '.join(CARRIERS)}"}
    for file in (
        ROOT / "gateways/gateway.py",
        ROOT / "gateways/wire/access_tokens.py",
        *(ROOT / "gateways" / "adapters").rglob("*.py"),
    ):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
                continue
            if getattr(node.exc.func, "id", "") == "ValueError" and isinstance(node.exc.args[0], ast.Constant):
                found.add(str(node.exc.args[0].value))
    return found


def test_what_a_protocol_says_of_its_settings_has_its_vietnamese() -> None:
    assert len(of_protocols()) > 10
    assert of_protocols() - VIETNAMESE.keys() == set()


def test_every_sentence_has_its_vietnamese_with_the_same_values() -> None:
    assert templates() - VIETNAMESE.keys() == set()
    for english, vietnamese in VIETNAMESE.items():
        assert names(english) == names(vietnamese), english


def names(template: str) -> list[str]:
    """The values that a template asks for."""
    return sorted({name for _, name, _, _ in Formatter().parse(template) if name})
