"""The pages' templates, compiled, and the macros they share."""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from jinja2 import Template


class Templates(NamedTuple):
    """All of them by their file names."""

    by_name: "dict[str, Template]"
    parts: Any


@cache
def load_templates() -> Templates:
    """Read and compile all of them, for a thread: some tenths of a second of work. Kept with the process."""
    # Loaded with the first page: no start of a worker waits for it.
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = files("service.web") / "templates"
    sources = {
        each.name: each.read_text(encoding="utf-8") for each in folder.iterdir() if each.name.endswith(".html")
    }
    environment = Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    compiled = {name: environment.get_template(name) for name in sources}
    return Templates(compiled, compiled["parts.html"].module)
