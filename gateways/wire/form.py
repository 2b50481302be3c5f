"""Form data: the `name=value` pairs of a query string or a body, and the fields in them.

Source: WHATWG URL, "application/x-www-form-urlencoded". Read leniently, as senders write it: a `%` that encodes
nothing stays, and bytes need not be UTF-8. How many pairs there may be is bounded by the query or body they stand in.
"""

from collections.abc import Iterable, Mapping
from typing import Self, TypeVar
from urllib.parse import unquote_to_bytes

from gateways.records import record
from gateways.wire import fields

MISSING = "is missing"
TWICE = "is given twice"

Meant = TypeVar("Meant")


@record()
class Form:
    """What was read: the first value of each name, its bytes decoded; which names came again; where it stood.

    `place` begins the path of a fault: `query` or `body`.
    """

    place: str
    values: Mapping[str, bytes]
    repeated: frozenset[str]

    @classmethod
    def of(cls, place: str, pairs: Iterable[bytes]) -> Self:
        """The form that raw `name=value` pairs are. Raises nothing."""
        values: dict[str, bytes] = {}
        repeated: set[str] = set()
        for pair in pairs:
            name, _, value = pair.partition(b"=")
            if not name and not value:
                continue
            field = _unescaped(name).decode("utf-8", "surrogateescape")
            if field in values:
                repeated.add(field)
            else:
                values[field] = _unescaped(value)
        return cls(place, values, frozenset(repeated))

    @classmethod
    def of_query(cls, query: str) -> Self:
        """A query string, as it stood in the request line."""
        return cls.of("query", query_bytes(query).split(b"&"))

    @classmethod
    def of_body(cls, body: bytes) -> Self:
        """A body of type application/x-www-form-urlencoded."""
        return cls.of("body", body.strip(b"\r\n").split(b"&"))

    def raw(self, name: str) -> bytes:
        """The bytes of a field, empty where there is none: for signatures, which come before any other question."""
        return self.values.get(name, b"")

    def said(self, name: str) -> str:
        """The same as text, for a secret or a signature: bytes that are not UTF-8 become lone surrogates."""
        return self.raw(name).decode("utf-8", "surrogateescape")

    def required(self, name: str) -> str:
        """A short field without blanks around it. Raises MalformedCallback; so do the methods below."""
        value = _short(self._path(name), self.raw(name))
        if value is None:
            fields.malformed(self._path(name), MISSING)
        self._require_once(name)
        return value

    def optional(self, name: str, flags: list[str]) -> str | None:
        """A short field; None where it is absent or empty, and flagged where it is there and cannot be read."""
        if name in self.repeated:
            flags.append(fields.FIELD_LEFT_OUT)
            return None
        return fields.optional(_short, self._path(name), self.values.get(name), flags)

    def text(self, name: str) -> bytes:
        """The bytes of a text, which may be empty but must be there."""
        if name not in self.values:
            fields.malformed(self._path(name), MISSING)
        self._require_once(name)
        return self.values[name]

    def msisdn(self, name: str) -> str:
        """84 and nine digits."""
        return fields.require_msisdn(self._path(name), self.required(name))

    def short_code(self, name: str) -> str:
        """Three to six digits."""
        return fields.require_short_code(self._path(name), self.required(name))

    def one_of(self, name: str, meanings: Mapping[str, Meant]) -> Meant:
        """What a required word means."""
        value = self.required(name)
        if value not in meanings:
            fields.malformed(self._path(name), f"must be one of {', '.join(meanings)}")
        return meanings[value]

    def vnd(self, name: str) -> int:
        """Whole VND."""
        return fields.require_vnd(self._path(name), self.required(name))

    def _require_once(self, name: str) -> None:
        if name in self.repeated:
            fields.malformed(self._path(name), TWICE)

    def _path(self, name: str) -> str:
        return f"{self.place}.{name}"


def query_bytes(query: str) -> bytes:
    """The bytes of a query string: those that are not UTF-8 arrive as lone surrogates."""
    try:
        return query.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return query.encode("utf-8", "surrogatepass")


def _unescaped(value: bytes) -> bytes:
    """A `+` is a blank, and only `%2B` a plus, before anything is decoded."""
    return unquote_to_bytes(value.replace(b"+", b" "))


def _short(path: str, raw: bytes) -> str | None:
    try:
        value = raw.decode().strip(" ")
    except UnicodeDecodeError:
        fields.malformed(path, "is not UTF-8")
    return fields.require_short_field(path, value) if value else None
