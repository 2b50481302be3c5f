"""The keyed digest over an event's content, by which a repeat is told from a conflict. It never changes."""

from datetime import UTC, datetime

from gateways.wire.mac import hmac_sha256

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


def _canonical(field: str | int | datetime) -> str:
    if isinstance(field, datetime):
        since = field - _EPOCH_AT
        field = f"{since.days} {since.seconds} {since.microseconds}"
    text = str(field)
    return f"{len(text)}:{text}"
