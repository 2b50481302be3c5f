"""What stands in a callback, whatever its format: one way to ask for a field."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from xml.etree.ElementTree import Element

from gateways.callback import Callback
from gateways.wire import encodings, fields
from gateways.wire.form import MISSING, TWICE, Form
from gateways.wire.strict_json import Unreadable, fault_of, require_json
from gateways.wire.xml import local_name, require_xml

_BLANKS = " \t\r\n"
ATTRIBUTE = "@"


class Reading(ABC):
    """The fields of one callback. `flags` say what had to be done to read it."""

    flags: tuple[str, ...] = ()

    @abstractmethod
    def raw(self, name: str) -> bytes:
        """A field's bytes, empty where it is absent or no text: for signatures, which come before all else."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is such a field, whatever it holds."""

    @abstractmethod
    def required(self, name: str) -> str:
        """A short field. Raises MalformedCallback; so does `text`."""

    @abstractmethod
    def optional(self, name: str, flags: list[str]) -> str | None:
        """A short field; None where it is absent or empty, and flagged where it cannot be read."""

    def word(self, name: str, flags: list[str]) -> str | None:
        """The same of a field that may say yes or no."""
        return self.optional(name, flags)

    @abstractmethod
    def text(self, name: str) -> str:
        """The donor's text, which may be empty but must be there."""

    def lists(self, names: Iterable[str]) -> Mapping[str, int]:  # noqa: ARG002 -- only JSON has lists
        """How long each list is that the way to one of these fields leads through, by its own path."""
        return {}

    def sorted_values(self, without: str) -> bytes:  # noqa: ARG002 -- paths have no order
        """The values of all fields but one, in the order of their names."""
        return b""

    def path(self, name: str) -> str:
        """Where a field is, for a fault."""
        return f"body.{name}"


class Pairs(Reading):
    """A query, or the body of a form."""

    def __init__(self, form: Form) -> None:
        self._form = form

    def raw(self, name: str) -> bytes:
        return self._form.raw(name)

    def has(self, name: str) -> bool:
        return name in self._form.values

    def required(self, name: str) -> str:
        return self._form.required(name)

    def optional(self, name: str, flags: list[str]) -> str | None:
        return self._form.optional(name, flags)

    def text(self, name: str) -> str:
        return encodings.decode_or_vietnamese(self._form.text(name))

    def sorted_values(self, without: str) -> bytes:
        values = self._form.values
        return b"".join(values[name] for name in sorted(values) if name != without)

    def path(self, name: str) -> str:
        return f"{self._form.place}.{name}"


class Tree(Reading):
    """JSON or XML: what stands at the end of a path."""

    @abstractmethod
    def find(self, name: str) -> object:
        """A text, a whole number, an Unreadable, whatever else there is, or None."""

    def raw(self, name: str) -> bytes:
        return (_plain(self.find(name)) or "").encode("utf-8", "surrogatepass")

    def has(self, name: str) -> bool:
        return self.find(name) is not None

    def required(self, name: str) -> str:
        found = self.find(name)
        value = _plain(found)
        if found is None or value == "":
            fields.malformed(self.path(name), MISSING)
        if value is None:
            fields.malformed(self.path(name), fault_of(found, "is not text or a number"))
        return fields.require_short_field(self.path(name), value)

    def optional(self, name: str, flags: list[str]) -> str | None:
        found = self.find(name)
        value = _plain(found)
        if found is not None and value is None:
            flags.append(fields.FIELD_LEFT_OUT)
        return fields.optional(fields.require_short_field, self.path(name), value or None, flags)

    def text(self, name: str) -> str:
        found = self.find(name)
        if not isinstance(found, str):
            fields.malformed(self.path(name), fault_of(found, "is not text"))
        return found


class JsonTree(Tree):
    """A JSON document."""

    def __init__(self, document: object) -> None:
        self._document = document

    def word(self, name: str, flags: list[str]) -> str | None:
        found = self.find(name)
        return str(found).lower() if isinstance(found, bool) else self.optional(name, flags)

    def lists(self, names: Iterable[str]) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for name in names:
            steps = name.split(".")
            for place in range(len(steps)):
                above = ".".join(steps[:place])
                value = self.find(above) if above else self._document
                if isinstance(value, list):
                    found[above] = len(value)
        return found

    def find(self, name: str) -> object:
        value = self._document
        for step in name.split("."):
            if isinstance(value, Mapping):
                value = value.get(step)
            elif isinstance(value, list) and step.isascii() and step.isdigit() and len(step) < 4:
                value = value[int(step)] if int(step) < len(value) else None
            else:
                return value if isinstance(value, Unreadable) else None
        return value


class XmlTree(Tree):
    """An XML document: paths begin below its root, and namespaces are not read.

    A path may end with an attribute of the element that it leads to, `@name`; one of the root is `@name` alone.
    """

    def __init__(self, root: Element, is_repaired: bool) -> None:
        self._root = root
        self.flags = ("repaired",) if is_repaired else ()

    def find(self, name: str) -> object:
        element = self._root
        for step in name.split("."):
            if step.startswith(ATTRIBUTE):
                return self._attribute(element, step.removeprefix(ATTRIBUTE))
            found = [child for child in element if local_name(child) == step]
            if len(found) != 1:
                return Unreadable(TWICE) if found else None
            element = found[0]
        return Unreadable("holds elements instead of text") if len(element) else element.text or ""

    def _attribute(self, element: Element, name: str) -> object:
        found = [value for each, value in element.attrib.items() if each.rpartition("}")[2] == name]
        return None if not found else found[0] if len(found) == 1 else Unreadable(TWICE)

    def required(self, name: str) -> str:
        # Blanks around an id or a number come from templates that are written over several lines.
        found = self.find(name)
        if isinstance(found, str) and not found.strip(_BLANKS):
            fields.malformed(self.path(name), MISSING)
        if not isinstance(found, str):
            fields.malformed(self.path(name), fault_of(found, "is not text"))
        return fields.require_short_field(self.path(name), found.strip(_BLANKS))

    def optional(self, name: str, flags: list[str]) -> str | None:
        found = self.find(name)
        if isinstance(found, str):
            said = found.strip(_BLANKS) or None
            return fields.optional(fields.require_short_field, self.path(name), said, flags)
        return super().optional(name, flags)


def read(callback: Callback, written: str) -> Reading:
    """What stands in a callback of that format. Raises MalformedCallback where it is not of it."""
    if written == "query":
        return Pairs(Form.of_query(callback.query))
    if written == "form":
        return Pairs(Form.of_body(callback.body))
    if written == "json":
        return JsonTree(require_json(callback.body))
    return XmlTree(*require_xml(callback.body))


def _plain(value: object) -> str | None:
    """A text or a whole number as it was written; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)
