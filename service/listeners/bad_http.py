"""What came over a connection and is no HTTP that we understand: which of a few faults it is, in words of our own.

The parser's sentences say it, and quote what was sent behind it: only how they begin is looked at.
"""

from enum import StrEnum


class HttpFault(StrEnum):
    """Why bytes are no request, as the log and the answer say it."""

    TLS = "TLS on the plain port"
    LINE_FEED = "a line does not end with CR LF"
    BLANK = "a blank in the address, or a version that is not HTTP/1.1"
    ADDRESS = "the address holds what has to be percent-encoded"
    NO_ADDRESS = "the request line has no address"
    METHOD = "no method of HTTP"
    HEADER = "a header that is none"
    TOO_MANY_HEADERS = "too many headers"
    TOO_LONG = "the request line or a header is too long"
    FRAMING = "where the body ends is in doubt"
    VERSION = "the service speaks HTTP/1.1"
    OLD_CHUNKS = "HTTP/1.0 has no Transfer-Encoding"
    CODING = "the only Transfer-Encoding understood is chunked"
    HEAD_LATE = "the head of the request did not arrive within the limits of time and size"
    BODY_LATE = "the body did not arrive in time"
    BODY_BROKEN_OFF = "the connection ended inside the body"
    OTHER = "not understood"


BEGINNINGS: tuple[tuple[str, HttpFault], ...] = (
    ("Received HTTPS traffic", HttpFault.TLS),
    ("Missing expected CR after chunk", HttpFault.FRAMING),
    ("Expected LF after chunk", HttpFault.FRAMING),
    ("Chunk size", HttpFault.FRAMING),
    ("Expected CRLF", HttpFault.LINE_FEED),
    ("Missing expected", HttpFault.LINE_FEED),
    ("Invalid HTTP version", HttpFault.BLANK),
    ("Expected HTTP/", HttpFault.BLANK),
    ("Invalid char in url", HttpFault.ADDRESS),
    ("Unexpected char in url", HttpFault.NO_ADDRESS),
    ("Invalid method", HttpFault.METHOD),
    ("Too many headers", HttpFault.TOO_MANY_HEADERS),
    ("Got more than", HttpFault.TOO_LONG),
    ("Invalid header", HttpFault.HEADER),
    ("Unexpected whitespace after header", HttpFault.HEADER),
    ("Duplicate 'Host'", HttpFault.HEADER),
    ("Content-Length", HttpFault.FRAMING),
    ("Duplicate Content-Length", HttpFault.FRAMING),
    ("Empty Content-Length", HttpFault.FRAMING),
    ("Invalid character in Content-Length", HttpFault.FRAMING),
    ("Transfer-Encoding", HttpFault.FRAMING),
    ("Invalid `Transfer-Encoding`", HttpFault.FRAMING),
    ("Request has invalid `Transfer-Encoding`", HttpFault.FRAMING),
    ("Invalid character in chunk", HttpFault.FRAMING),
    ("Pause on PRI", HttpFault.VERSION),
)
"""How a sentence of the parser begins, and what it means."""
_INTRODUCTION = "Bad status line:"


def fault_of(sentence: str | None) -> HttpFault:
    """Which fault the parser means by `sentence`."""
    said = (sentence or "").removeprefix(_INTRODUCTION).lstrip()
    return next((fault for beginning, fault in BEGINNINGS if said.startswith(beginning)), HttpFault.OTHER)
