"""Keyed digests: over an event's content, by which a repeat is told from a conflict; and in place of an id.

They never change.
"""

from datetime import UTC, datetime

from gateways.wire.mac import hmac_sha256

WEAK_ID = "weak_id"
"""The flag of a message whose id we made ourselves from our time of receipt: a repeat of it would count again."""

_EPOCH_AT = datetime(1970, 1, 1, tzinfo=UTC)


def keyed_digest(key: bytes, kind: str, *fields: str | int | datetime | None) -> bytes:
    """HMAC-SHA256 over `kind` and the canonical fields in their fixed order.

    Each field goes in with its length before it, and an absent one unlike an empty one, so that no two lists
    of fields are the same bytes. A time counts as the instant it means, in whatever zone it was written.
    """
    # A hundred of these are made for one batch: hence one pass, and strings, the usual case, asked for first.
    canonical = [
        f"{len(field)}:{field}" if type(field) is str else "-" if field is None else _canonical(field)
        for field in (kind, *fields)
    ]
    return hmac_sha256(key, ",".join(canonical).encode("utf-8", "surrogatepass"))


def derived_id(key: bytes, account: str, *fields: str | datetime) -> str:
    """The id of a message whose protocol has none: `d:` and a keyed digest over what tells it from others.

    `fields`: number, short code, the carrier's time (where there is none, ours of receipt: such an id never makes one
    of two gifts, nor of a repeat), and the text. It never changes.
    """
    return "d:" + keyed_digest(key, "derived id", account, *fields).hex()


def id_without_one(
    key: bytes,
    account: str,
    said: tuple[str, str, str],
    written: str | None,
    received_at: datetime,
    flags: list[str],
    place: int | None = None,
) -> str:
    """The derived id of a message of which `said` is number, short code and text.

    `written` is the carrier's time as it stands, None where there is none that can be read: then ours decides (and
    in a list the `place`), no two messages are ever one, and the message is flagged WEAK_ID.
    """
    msisdn, short_code, text = said
    if written is not None:
        return derived_id(key, account, msisdn, short_code, written, text)
    flags.append(WEAK_ID)
    return derived_id(key, account, msisdn, short_code, received_at, text, *(() if place is None else (str(place),)))


def _canonical(field: str | int | datetime) -> str:
    if isinstance(field, datetime):
        since = field - _EPOCH_AT
        field = f"{since.days} {since.seconds} {since.microseconds}"
    text = str(field)
    return f"{len(text)}:{text}"
