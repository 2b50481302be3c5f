"""Where the tables and keys of a TOML file stand. tomllib forgets lines; a refusal has to name one."""

import re
import tomllib

Location = tuple[str | int, ...]
"""Keys and array positions from the top of the file, as in ("campaign", 2, "route", 0)."""

PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
TOKEN = re.compile(
    rf"(?P<key>(?m:^)[ \t]*{PART}(?:[ \t]*\.[ \t]*{PART})*[ \t]*=)"
    r'|"""(?:[^\\]|\\.)*?""""{0,2}'
    r"|'''.*?''''{0,2}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{}]",
    re.DOTALL,
)
"""A key at the start of a line, what can hide a bracket, and brackets.

A multi-line string may end in up to two quotes of its own.
"""

KEY_PARTS_MAX = 32
"""Of one dotted key; the tables of an apply file lie three deep."""
# Quotes are followed no further than so: in a text, of which this knows nothing, there may be thousands.
_SHORT_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.){0,64}"|'[^'\n]{0,64}')"""
_DEEP_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_SHORT_PART}(?:[ \t]*\.[ \t]*{_SHORT_PART}){{{KEY_PARTS_MAX}}}")


def has_deep_key(text: str) -> bool:
    """Whether a key of `text`, or what looks like one, has more than KEY_PARTS_MAX parts.

    For those tomllib takes a time that grows with their square: two minutes for 60 KB.
    """
    return _DEEP_KEY.search(text) is not None


def toml_lines(text: str) -> dict[Location, int]:
    """The line (from 1) of every table header and key in `text`, which must be valid TOML with bare newlines.

    A key within an inline table has none of its own.
    """
    lines: dict[Location, int] = {}
    lengths: dict[Location, int] = {}
    known: dict[str, tuple[str, ...]] = {}
    at, line, counted_to, depth = 0, 1, 0, 0
    table: Location = ()
    while (token := TOKEN.search(text, at)) is not None:
        at = token.end()
        line += text.count("\n", counted_to, token.start())
        counted_to = token.start()
        line_start = text.rfind("\n", 0, token.start()) + 1
        if token["key"]:
            if depth == 0:
                written = f"{token[0].strip()} 0"
                if written not in known:
                    known[written] = _keys(written)
                lines.setdefault((*table, *known[written]), line)
        elif depth == 0 and token[0] == "[" and not text[line_start : token.start()].strip():
            line_end = text.find("\n", at)
            at = len(text) if line_end < 0 else line_end
            header = text[token.start() : at]
            if header not in known:
                known[header] = _keys(header)
            table = _location(known[header], header.startswith("[["), lengths)
            lines[table] = line
        elif token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
    return lines


def line_of(location: Location, lines: dict[Location, int]) -> int | None:
    """The line of the key at `location`, or of the nearest key or header that holds it, or of the first below it.

    None where there is none of them.
    """
    for length in range(len(location), 0, -1):
        if location[:length] in lines:
            return lines[location[:length]]
    below = (line for header, line in lines.items() if header[: len(location)] == location)
    return min(below, default=None)


def toml_path(location: Location) -> str:
    """`location` as a person writes it: campaign[2].route[0].unit_vnd, counted from 0."""
    written = ""
    for step in location:
        if isinstance(step, int):
            written += f"[{step}]"
        else:
            written += f".{step}" if written else step
    return written


def _keys(written: str) -> tuple[str, ...]:
    # A header alone is a TOML file of nested empty tables, a key with a value too: the parser undoes quotes and dots.
    keys: list[str] = []
    table: object = tomllib.loads(written)
    while isinstance(table, dict) and table:
        key, table = next(iter(table.items()))
        keys.append(key)
    return tuple(keys)


def _location(keys: tuple[str, ...], is_array: bool, lengths: dict[Location, int]) -> Location:
    location: Location = ()
    for key in keys[:-1]:
        location += (key,)
        if location in lengths:
            location += (lengths[location] - 1,)
    location += (keys[-1],)
    if is_array:
        position = lengths.get(location, 0)
        lengths[location] = position + 1
        location += (position,)
    return location
