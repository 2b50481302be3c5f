"""The pages' templates, compiled, and the macros they share."""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from jinja2 import Template


OF_THE_DESK = "desk_"
"""What the files' names begin with that no public page is made of."""


class Templates(NamedTuple):
    """By their file names."""

    by_name: "dict[str, Template]"
    parts: Any


@cache
def load_templates(*, for_desk: bool) -> Templates:
    """Read and compile them, for a thread: a tenth of a second of work, half a second for the desk. Kept.

    While a thread compiles, callbacks wait for it: the first who opens a public page has the desk's left alone.
    """
    # Loaded with the first page: no start of a worker waits for it.
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = files("service.web") / "templates"
    names = [each.name for each in folder.iterdir() if each.name.endswith(".html")]
    wanted = [name for name in names if for_desk or not name.startswith(OF_THE_DESK)]
    sources = {name: (folder / name).read_text(encoding="utf-8") for name in wanted}
    environment = Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    compiled = {name: environment.get_template(name) for name in sources}
    return Templates(compiled, compiled["parts.html"].module)
