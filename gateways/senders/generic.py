"""`generic` as a hub writes it whose dialect an account has: its example, with other facts in their places.

Source: the dialect itself, as its operator wrote it down.
"""

import base64
import hashlib
import hmac
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qsl, urlencode
from xml.etree.ElementTree import Element, SubElement, tostring
from xml.sax.saxutils import escape

from defusedxml.ElementTree import fromstring

from gateways.sender import AS_IT_IS, LATER_STATUSES, Reply, Request, Sender, SenderSettings, Sms, Verdict, sent

_VIETNAM = timezone(timedelta(hours=7))
_HEADER = "header:"


class DialectSettings(SenderSettings, Protocol):
    """What this sender reads of its account. A dialect's tables are read as they are written."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The first signs."""

    @property
    def dialect(self) -> Any:
        """The dialect."""


class GenericSender(Sender[DialectSettings]):
    """One hub, in the dialect of its account."""

    name: ClassVar[str] = "generic"

    @property
    def names_carriers(self) -> bool:
        """Where the dialect has a field for it."""
        return self.settings.dialect.fields.carrier is not None

    @property
    def charges_at_once(self) -> bool:
        """Where the dialect has a charge: it stands in the message's own callback."""
        return self.settings.dialect.charge is not None

    @property
    def has_word_for_conflicts(self) -> bool:
        """Where the dialect has words of its own for it."""
        return self.settings.dialect.answers.conflict is not None

    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:
        """The example with this message's facts, signed anew."""
        (sms,) = messages
        dialect, example = self.settings.dialect, self.settings.dialect.example
        values = _values(sms, dialect, sms.at or attempt_at)
        headers = dict(example.headers)
        written = _WRITERS[dialect.format](example)
        for place, value in values.items():
            written.put(place, value)
        if dialect.signature is not None:
            place = dialect.signature.place
            made = dialect.signature.prefix + self._signature(dialect.signature, written, headers)
            if place.startswith(_HEADER):
                headers[place.removeprefix(_HEADER).lower()] = made
            else:
                written.put(place, made)
        query = written.query()
        method = "GET" if dialect.format == "query" else "POST"
        return Request(method, self._path() + (f"?{query}" if query else ""), headers, written.body())

    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:
        """By the dialect's own words, status and body; what they are for others is nothing."""
        (sms,) = messages
        answers = self.settings.dialect.answers
        meanings = (
            (answers.accepted, Verdict.TAKEN),
            (answers.conflict, Verdict.CONFLICT),
            (answers.not_counted, Verdict.DECLINED),
        )
        for words, verdict in meanings:
            if words is not None and reply.status == words.status and _is_told(words, sms.native_id, reply.body):
                return verdict
        return Verdict.LATER if reply.status in LATER_STATUSES else Verdict.REFUSED

    def _signature(self, recipe: Any, written: "_Writer", headers: Mapping[str, str]) -> str:
        secret = self.settings.secrets[0].encode()
        if recipe.kind == "token":
            return secret.decode()
        signed = b""
        for part in recipe.parts:
            kind, _, name = part.partition(":")
            signed += {
                "secret": lambda: secret,
                "body": written.body,
                "sorted": lambda: written.all_but(recipe.place),
                "text": name.encode,
                "header": lambda name=name: headers.get(name.lower(), "").encode(),
                "field": lambda name=name: sent(written.get(name)),
            }[kind]()
        if recipe.kind == "hmac":
            digest = hmac.new(secret, signed, recipe.hash).digest()
        else:
            digest = hashlib.new(recipe.hash, signed).digest()
        return digest.hex() if recipe.encoding == "hex" else base64.b64encode(digest).decode()


class _Writer(ABC):
    """What a hub is about to send: the example's, until facts are put into it."""

    def __init__(self, example: Any) -> None:
        self._query: str = example.query

    @abstractmethod
    def put(self, place: str, value: str) -> None:
        """Write a fact where the dialect says."""

    @abstractmethod
    def get(self, place: str) -> str:
        """What is written there, empty where nothing is."""

    @abstractmethod
    def body(self) -> bytes:
        """The body."""

    def query(self) -> str:
        """The query."""
        return self._query

    def all_but(self, place: str) -> bytes:  # noqa: ARG002 -- those that have an order look at it
        """All values but one, by the order of their names. Raises ValueError where names have no order.

        A dialect that signs so in another format than query and form is refused before it gets here.
        """
        raise ValueError("only a query and a form are signed in the order of names")


class _Form(_Writer):
    """A form in the body."""

    def __init__(self, example: Any) -> None:
        super().__init__(example)
        self._pairs = dict(parse_qsl(self._source(example), keep_blank_values=True))

    def _source(self, example: Any) -> str:
        return str(example.body)

    def put(self, place: str, value: str) -> None:
        self._pairs[place] = value

    def get(self, place: str) -> str:
        return self._pairs.get(place, "")

    def body(self) -> bytes:
        return sent(urlencode(self._pairs, errors=AS_IT_IS))

    def all_but(self, place: str) -> bytes:
        return "".join(value for name, value in sorted(self._pairs.items()) if name != place).encode(
            "utf-8", AS_IT_IS
        )


class _Query(_Form):
    """A form in the address."""

    def _source(self, example: Any) -> str:
        return str(example.query)

    def body(self) -> bytes:
        return b""

    def query(self) -> str:
        return urlencode(self._pairs, errors=AS_IT_IS)


class _Json(_Writer):
    """A JSON document; a number of the example stays one."""

    def __init__(self, example: Any) -> None:
        super().__init__(example)
        self._document = json.loads(example.body)

    def put(self, place: str, value: str) -> None:
        *steps, last = place.split(".")
        inner = self._document
        for step in steps:
            inner = inner[int(step)] if isinstance(inner, list) else inner.setdefault(step, {})
        before = inner.get(last)
        inner[last] = int(value) if isinstance(before, int) and not isinstance(before, bool) else value

    def get(self, place: str) -> str:
        inner = self._document
        for step in place.split("."):
            inner = inner[int(step)] if isinstance(inner, list) else inner.get(step, "")
        return str(inner)

    def body(self) -> bytes:
        return sent(json.dumps(self._document, ensure_ascii=False))


class _Xml(_Writer):
    """An XML document."""

    def __init__(self, example: Any) -> None:
        super().__init__(example)
        self._root: Element = fromstring(example.body)

    def _find(self, place: str) -> tuple[Element, str]:
        """The element, and the name of its attribute, as it stands there, where the place is one."""
        inner = self._root
        for step in place.split("."):
            if step.startswith("@"):
                names = (each for each in inner.attrib if each.rpartition("}")[2] == step[1:])
                return inner, next(names, step[1:])
            found = [child for child in inner if child.tag.rpartition("}")[2] == step]
            inner = found[0] if found else SubElement(inner, step)
        return inner, ""

    def put(self, place: str, value: str) -> None:
        element, attribute = self._find(place)
        if attribute:
            element.set(attribute, value)
        else:
            element.text = value

    def get(self, place: str) -> str:
        element, attribute = self._find(place)
        return (element.get(attribute) if attribute else element.text) or ""

    def body(self) -> bytes:
        return bytes(tostring(self._root, encoding="utf-8"))


_WRITERS: Mapping[str, type[_Writer]] = {"query": _Query, "form": _Form, "json": _Json, "xml": _Xml}


def _values(sms: Sms, dialect: Any, at: datetime) -> dict[str, str]:
    """What stands where, of one message."""
    names = dialect.fields
    text = {
        "plain": sms.text,
        "base64": base64.b64encode(sent(sms.text)).decode(),
        "hex": sent(sms.text).hex(),
    }[dialect.text_form]
    time = {
        "rfc3339": at.astimezone(UTC).isoformat(),
        "compact": at.astimezone(_VIETNAM).strftime("%Y%m%d%H%M%S"),
        "epoch": str(int(at.timestamp())),
        "epoch_ms": str(int(at.timestamp()) * 1000),
    }[dialect.time_format]
    said = {
        names.id: sms.native_id,
        names.msisdn: sms.msisdn.removeprefix("+"),
        names.short_code: sms.short_code,
        names.text: text,
        names.time: time,
    }
    if sms.said is not None:
        said[names.carrier] = sms.said
    if dialect.charge is not None:
        said |= {dialect.charge.status: dialect.charge.succeeded[0], dialect.charge.amount: str(sms.amount_vnd)}
    return {place: value for place, value in said.items() if place is not None}


def _is_told(words: Any, native_id: str, body: bytes) -> bool:
    """Whether `body` is this answer about a message, whatever its donor is told in it."""
    written = native_id
    if "json" in words.content_type:
        written = json.dumps(native_id)[1:-1]
    elif "xml" in words.content_type:
        written = escape(native_id, {'"': "&quot;", "'": "&apos;"})
    pieces = [piece.replace("{id}", written).encode() for piece in str(words.body).split("{reply}")]
    if len(pieces) == 1:
        return body == pieces[0]
    return len(body) >= sum(map(len, pieces)) and body.startswith(pieces[0]) and body.endswith(pieces[-1])
