"""The lines that say what a file changed."""

from collections.abc import Iterable

from campaigns.book.sentences import in_vietnamese
from campaigns.book.stored_lines import again


def stored(lines: Iterable[str]) -> list[str]:
    """The lines as the book keeps them, in English; what is no gateway's is found again in Vietnamese."""
    kept = {str(line): in_vietnamese(line) for line in lines}
    of_gateways = {line for line in kept if line.startswith("gateway ")}
    assert {line: in_vietnamese(again(line)) for line in kept.keys() - of_gateways} == {
        line: vietnamese for line, vietnamese in kept.items() if line not in of_gateways
    }
    return list(kept)
