"""Every sentence is complete in both languages."""

import ast
from pathlib import Path
from string import Formatter

from campaigns.book import faults, slips, unusual
from campaigns.book.vietnamese import VIETNAMESE

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


def test_every_sentence_has_its_vietnamese_with_the_same_values() -> None:
    assert templates() - VIETNAMESE.keys() == set()
    for english, vietnamese in VIETNAMESE.items():
        assert names(english) == names(vietnamese), english


def names(template: str) -> list[str]:
    """The values that a template asks for."""
    return sorted({name for _, name, _, _ in Formatter().parse(template) if name})
