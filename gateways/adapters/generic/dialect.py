"""A dialect: how a hub that nobody has seen puts messages into words, as its account writes it down."""

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from gateways.events import ChargeStatus

FIELDS_MAX = 20
PARTS_MAX = 60
BODY_CHARACTERS_MAX = 8_000

Path = Annotated[str, Field(pattern=r"^[A-Za-z0-9_@:.\[\]-]{1,120}$")]
"""Where a field is: the name of a parameter; or names with dots between them, a number for a place in a list."""
WrittenPart = Annotated[
    str, Field(pattern=r"^(secret|body|sorted|field:.{1,120}|header:[A-Za-z0-9-]{1,60}|text:.{1,200})$")
]
"""A part of what is signed: the secret, the body, all values in order of name, one field, header or text."""
ContentType = Annotated[str, Field(pattern=r"^[a-z]+/[a-z0-9.+-]+(; charset=utf-8)?$")]
Value = Annotated[str, Field(min_length=1, max_length=200)]
Values = Annotated[tuple[Value, ...], Field(min_length=1, max_length=FIELDS_MAX)]


class Part(NamedTuple):
    """One of the parts that are signed, in their order: what kind it is, and which."""

    kind: str
    name: str


def _split(parts: tuple[str, ...]) -> tuple[Part, ...]:
    return tuple(Part(kind, name) for kind, _, name in (part.partition(":") for part in parts))


class Table(BaseModel):
    """A table of a dialect."""

    # Built at its first use: no start waits for what it may not need.
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class MessageFields(Table):
    """Where each fact of a message is."""

    id: Path | None = None
    msisdn: Path
    short_code: Path | None = None
    text: Path
    carrier: Path | None = None
    time: Path | None = None


class ChargeFields(Table):
    """Where a callback says what became of the charge of its message: what `status` says, and the `amount` in VND.

    A word that is in none of the lists means `otherwise`; `reason` is kept where it was no success.
    """

    status: Path
    amount: Path
    reason: Path | None = None
    succeeded: Values
    failed: Annotated[tuple[Value, ...], Field(max_length=FIELDS_MAX)] = ()
    pending: Annotated[tuple[Value, ...], Field(max_length=FIELDS_MAX)] = ()
    otherwise: Literal["failed", "pending", "malformed"] = "malformed"

    def meaning(self, said: str) -> ChargeStatus | None:
        """What a word says of the charge; None: nothing that the dialect knows."""
        known = {"succeeded": self.succeeded, "failed": self.failed, "pending": self.pending}
        meant = next((status for status, words in known.items() if said in words), self.otherwise)
        return None if meant == "malformed" else ChargeStatus(meant)


class Signature(Table):
    """How a callback is signed: `kind` of `parts`, written in `encoding`, at `place`.

    `plain` is a hash of the parts, one of which is the secret; `hmac` is keyed by the secret; `token` is the secret
    itself, behind `prefix`.
    """

    place: Annotated[str, Field(pattern=r"^(header:[A-Za-z0-9-]{1,60}|[A-Za-z0-9_@:.\[\]-]{1,120})$")]
    kind: Literal["plain", "hmac", "token"]
    hash: Literal["md5", "sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: Annotated[str, Field(max_length=40)] = ""
    parts: Annotated[tuple[WrittenPart, ...], Field(max_length=PARTS_MAX)] = ()

    @property
    def split_parts(self) -> tuple[Part, ...]:
        """The parts, told apart."""
        return _split(self.parts)

    @model_validator(mode="after")
    def _is_a_recipe(self) -> Self:
        has_secret = "secret" in self.parts
        if self.kind == "plain" and not (has_secret and len(self.parts) > 1):
            raise ValueError("plain signs parts of which one is secret and another is not")
        if self.kind == "hmac" and (has_secret or not self.parts):
            raise ValueError("hmac signs at least one part, and the secret is its key and no part")
        if self.kind == "token" and self.parts:
            raise ValueError("a token signs nothing: remove parts")
        if "body" in self.parts and not self.place.startswith("header:"):
            raise ValueError("a signature cannot stand in the body that it signs: its place is a header")
        return self


class Words(Table):
    """One answer.

    `{id}` in `body` becomes the message's id and `{reply}` the SMS to its donor, escaped as `content_type` wants it.
    """

    status: Annotated[int, Field(ge=200, le=599)] = 200
    body: Annotated[str, Field(max_length=2_000)] = ""
    content_type: ContentType = "text/plain; charset=utf-8"


class Answers(Table):
    """What is answered to whoever has passed every factor: all others get the same from every account.

    `accepted` is owed to a repeat too, and to what no campaign knows; `conflict` to another content under the same id
    (default: as accepted); `not_counted` to a form that does not count and must not be charged (default: as
    accepted); `malformed` to what is not understood, `malformed_with_id` where its id is (default: as malformed).
    """

    accepted: Words
    conflict: Words | None = None
    not_counted: Words | None = None
    malformed: Words = Words(status=400)
    malformed_with_id: Words | None = None

    @model_validator(mode="after")
    def _are_told_apart(self) -> Self:
        if not 200 <= self.accepted.status < 300:
            raise ValueError("accepted must have a status of success, 200 to 299")
        if self.not_counted == self.accepted:
            raise ValueError("not_counted is what accepted is: leave it out")
        return self


class Meant(Table):
    """What the example says, in our words; `carrier` as one of our carriers, `at` with its zone."""

    id: Value | None = None
    msisdn: Annotated[str, Field(pattern=r"^84[0-9]{9}$")]
    short_code: Annotated[str, Field(pattern=r"^[0-9]{3,6}$")]
    text: Annotated[str, Field(max_length=1_000)]
    carrier: Value | None = None
    at: AwareDatetime | None = None
    charge: Literal["succeeded", "failed", "pending"] | None = None
    amount_vnd: Annotated[int, Field(ge=0)] | None = None


class Written(Table):
    """A callback as it comes."""

    query: Annotated[str, Field(max_length=BODY_CHARACTERS_MAX)] = ""
    headers: Annotated[dict[str, str], Field(max_length=FIELDS_MAX)] = {}
    body: Annotated[str, Field(max_length=BODY_CHARACTERS_MAX)] = ""

    @field_validator("headers")
    @classmethod
    def _have_lower_case_names(cls, value: dict[str, str]) -> dict[str, str]:
        return {name.lower(): said for name, said in value.items()}


class Example(Written):
    """A callback of this hub, by which the dialect is tried before it serves.

    `secret` is what it was signed with: one made up for it, never the account's own, for it is kept in clear.
    """

    secret: Value | None = None
    means: Meant


class Question(Table):
    """A call that only asks, and says nothing, whatever stands in it: one that has no field of `without`.

    It is signed as every other callback is, over `parts` of its own, and hears what is accepted. `example` is one,
    signed with the secret of the dialect's example.
    """

    without: Annotated[tuple[Path, ...], Field(min_length=1, max_length=FIELDS_MAX)]
    parts: Annotated[tuple[WrittenPart, ...], Field(max_length=PARTS_MAX)] = ()
    example: Written

    @property
    def split_parts(self) -> tuple[Part, ...]:
        """The parts, told apart."""
        return _split(self.parts)


class Dialect(Table):
    """All that is peculiar to a hub.

    `ours`: fields that name us, with our name; another's is refused as wrong credentials. `allowed`: fields that have
    one of a few values; any other makes the callback malformed. `trial`: fields by a value of which a callback is a
    trial, and says nothing. `question`: calls that only ask. `short_code`: that of an account whose callbacks do not
    say it.
    """

    format: Literal["query", "form", "json", "xml"]
    fields: MessageFields
    short_code: Annotated[str, Field(pattern=r"^[0-9]{3,6}$")] | None = None
    charge: ChargeFields | None = None
    time_format: Literal["rfc3339", "compact", "epoch", "epoch_ms"] = "rfc3339"
    text_form: Literal["plain", "base64", "hex"] = "plain"
    signature: Signature | None = None
    ours: Annotated[dict[Path, Value], Field(max_length=FIELDS_MAX)] = {}
    allowed: Annotated[dict[Path, Values], Field(max_length=FIELDS_MAX)] = {}
    trial: Annotated[dict[Path, Values], Field(max_length=FIELDS_MAX)] = {}
    question: Question | None = None
    answers: Answers
    example: Example

    @property
    def is_tree(self) -> bool:
        """Whether a field's place is a path, and not the name of a parameter."""
        return self.format in ("json", "xml")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        signature, example = self.signature, self.example
        if (self.short_code is None) == (self.fields.short_code is None):
            raise ValueError("short_code is a place in fields or a code of the dialect's own: give one of them")
        if self.charge is not None and self.fields.id is None:
            raise ValueError("a charge needs fields.id, by which a repeat is told")
        if (signature is None) != (example.secret is None):
            raise ValueError("example.secret goes with signature: give both or neither")
        if signature is not None and "sorted" in signature.parts and self.is_tree:
            raise ValueError("the part sorted is for query and form alone")
        if self.question is not None:
            # The recipe is the same; what it is of may differ.
            if bool(self.question.parts) != (signature is not None and signature.kind != "token"):
                raise ValueError("question.parts goes with signature.parts: give both or neither")
            if signature is not None:
                Signature.model_validate(signature.model_dump() | {"parts": self.question.parts})
        return self
