"""The pages' templates, compiled, and the macros they share."""

from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import DictLoader, Environment, StrictUndefined, Template


class Templates(NamedTuple):
    """All of them by their file names."""

    by_name: dict[str, Template]
    parts: Any


@cache
def load_templates() -> Templates:
    """Read and compile all of them, kept for as long as the process: some tenths of a second of work."""
    folder = files("service.web") / "templates"
    sources = {
        each.name: each.read_text(encoding="utf-8") for each in folder.iterdir() if each.name.endswith(".html")
    }
    environment = Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    compiled = {name: environment.get_template(name) for name in sources}
    return Templates(compiled, compiled["parts.html"].module)
