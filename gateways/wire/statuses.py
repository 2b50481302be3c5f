"""How protocols end in which the HTTP status says all that the body does not: one row for each outcome."""

from gateways.outcome import Answer, Outcome, Result

TAKEN = 200

STATUSES: dict[Outcome, int] = {
    Outcome.ACCEPTED: TAKEN,
    Outcome.DUPLICATE: TAKEN,
    Outcome.CONFLICT: TAKEN,
    Outcome.UNALLOCATED: TAKEN,
    Outcome.REJECTED_POLICY: TAKEN,
    Outcome.MALFORMED: 400,
    Outcome.UNAUTHENTICATED: 403,
    Outcome.STALE: 403,
    Outcome.TOO_LARGE: 413,
    Outcome.OVERLOADED: 503,
    Outcome.UNAVAILABLE: 503,
}


def status_alone(result: Result, content_type: str = "text/plain") -> Answer:
    """An answer without a body; with 503 it says when to try again."""
    status = STATUSES[result.outcome]
    headers = (("retry-after", str(result.retry_after_seconds)),) if status == 503 else ()
    return Answer(status, b"", content_type, headers)
