"""The words of a dialect's answer, filled in."""

import json
from xml.sax.saxutils import escape

from gateways.adapters.generic.dialect import Words
from gateways.outcome import Result
from gateways.wire.donor_reply import REPLY_TEXT

_QUOTES = {'"': "&quot;", "'": "&apos;"}
"""An answer may have the id in an attribute."""

REPLY = "{reply}"
"""In the words of an answer: what the donor is told by SMS."""


def body_of(words: Words, result: Result) -> bytes:
    """The words of an answer with what goes into them: the message's id, the SMS to its donor."""
    body = words.body
    # The id last: a sender may have written `{reply}` into it.
    if REPLY in body:
        body = body.replace(REPLY, _escaped(words, REPLY_TEXT if result.reply is None else result.reply))
    if "{id}" in body and result.events:
        body = body.replace("{id}", _escaped(words, result.events[0].native_id))
    return body.encode()


def _escaped(words: Words, value: str) -> str:
    if "json" in words.content_type:
        return json.dumps(value)[1:-1]
    if "xml" in words.content_type or "html" in words.content_type:
        return escape(value, _QUOTES)
    return value
