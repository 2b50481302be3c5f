"""The SMS by which a campaign answers its donors: what a template may hold, and what it becomes. Pure.

A text is written without diacritics, so that it is one SMS of the default alphabet (3GPP TS 23.038, section 6.2.1):
160 letters, measured at the longest values that it can be filled with. What any protocol could mistake for its own
punctuation, and what takes two places of an SMS, is left out of the alphabet. It answers a message that just came and
asks for nothing: an appeal in it would make an advertisement of it (Decree 91/2020/ND-CP).
"""

import re
import string
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from campaigns.book.book import Replies, Route
from campaigns.book.grammar import ReadingOutcome, fold
from campaigns.book.sentences import Sentence, say

SMS_LETTERS_MAX = 160
ALPHABET: Final = frozenset(string.ascii_letters + string.digits + " !\"#$%'()*+,-./:;=?@_")
"""ASCII that the default alphabet of an SMS has at one place each, without `<`, `>` and `&`."""
PLAIN_THANKS = "Cam on Quy vi da ung ho {amount} dong. Ma bien nhan {receipt}."
"""Of a campaign without a text, where the reply itself is what charges the donor."""
SAMPLE_RECEIPT = "ACDEF-GHJKM-NPQRT"
"""A receipt code as it looks; all are of one length."""


class ReplyKind(StrEnum):
    """Which of a campaign's texts a message is answered with."""

    THANK_YOU = "thank_you"
    WRONG_FORM = "wrong_form"
    CLOSED = "closed"


KIND_OF: Mapping[str, ReplyKind] = MappingProxyType(
    {
        ReadingOutcome.COUNTED: ReplyKind.THANK_YOU,
        ReadingOutcome.WRONG_SYNTAX: ReplyKind.WRONG_FORM,
        ReadingOutcome.AFTER_CLOSE: ReplyKind.CLOSED,
    }
)
"""By the reading; whatever else a message was read as is answered with none of them."""

HOTLINE, AMOUNT, RECEIPT = "{hotline}", "{amount}", "{receipt}"
REQUIRED: Mapping[ReplyKind, tuple[str, ...]] = MappingProxyType(
    {
        ReplyKind.THANK_YOU: (AMOUNT, HOTLINE, RECEIPT),
        ReplyKind.WRONG_FORM: (HOTLINE,),
        ReplyKind.CLOSED: (HOTLINE,),
    }
)
ALLOWED: Mapping[ReplyKind, tuple[str, ...]] = MappingProxyType(
    {kind: (*own, *([] if RECEIPT in own else [RECEIPT])) for kind, own in REQUIRED.items()}
)
_BRACES = re.compile(r"\{[^{}]*\}?|\}")
_APPEAL = re.compile(r"\b(HAY|TIEP TUC|KEU GOI|XIN MOI|MOI (BAN|QUY VI)|SOAN|GUI( DEN| TOI)? 14[0-9]{2})\b")
"""Words that ask for another gift. Help with a wrong form has to name the right one, and may."""


def template_of(replies: Replies, kind: ReplyKind) -> str | None:
    """The text of this kind, as the file has it."""
    return {
        ReplyKind.THANK_YOU: replies.reply_thank_you,
        ReplyKind.WRONG_FORM: replies.reply_wrong_form,
        ReplyKind.CLOSED: replies.reply_closed,
    }[kind]


def reply_to(
    replies: Replies, reading: str, amount_vnd: int | None, receipt: str, *, is_charged: bool = False
) -> str | None:
    """What a message with this `reading` is answered; None where its campaign has no text for it.

    `amount_vnd` is the gift's, None where it does not count; `receipt` is the code of the message.
    `is_charged`: the SMS is what makes a gift money, and is sent whatever the campaign has.
    """
    kind = KIND_OF.get(reading)
    template = None if kind is None else template_of(replies, kind)
    if template is None and kind is ReplyKind.THANK_YOU and is_charged:
        template = PLAIN_THANKS
    return None if template is None else _filled(template, replies.hotline or "", amount_vnd or 0, receipt)


def owes_reply(replies: Replies, reading: str, *, is_charged: bool) -> bool:
    """Whether a message with this `reading` is answered. `is_charged`: the SMS is what makes a gift money."""
    kind = KIND_OF.get(reading)
    if kind is ReplyKind.THANK_YOU and is_charged:
        return True
    return kind is not None and template_of(replies, kind) is not None


def longest(template: str, replies: Replies, routes: Iterable[Route]) -> str:
    """The text at the longest values that gifts by `routes` can fill it with."""
    most = max((route.unit_vnd * route.max_units for route in routes), default=0)
    return _filled(template, replies.hotline or "", most, SAMPLE_RECEIPT)


def is_too_long(text: str) -> bool:
    """Whether a filled text takes more than one SMS. All of it is of the alphabet, a place for each letter."""
    return len(text) > SMS_LETTERS_MAX


def reply_faults(replies: Replies) -> Iterator[tuple[str, Sentence]]:
    """Each key that is wrong whatever the gifts are, and why. How long it gets is asked of `longest`."""
    templates = [(kind, template) for kind in ReplyKind if (template := template_of(replies, kind)) is not None]
    if replies.hotline is None and templates:
        yield key_of(templates[0][0]), say("goes with hotline, the number that donors may ring; add that key too")
    if replies.hotline is not None and (stray := _stray(replies.hotline)):
        yield "hotline", say('holds "{letter}", which is no letter of a plain SMS', letter=stray)
    for kind, template in templates:
        for reason in _template_faults(kind, template):
            yield key_of(kind), reason


def key_of(kind: ReplyKind) -> str:
    """The key of the file that holds this text."""
    return f"reply_{kind}"


def _template_faults(kind: ReplyKind, template: str) -> Iterator[Sentence]:
    allowed = ALLOWED[kind]
    for found in _BRACES.findall(template):
        if found not in allowed:
            yield say("may be filled with {allowed} and nothing else in braces", allowed=", ".join(allowed))
            return
    plain = template
    for each in allowed:
        plain = plain.replace(each, "")
    if stray := _stray(plain):
        yield say(
            'holds "{letter}", which is no letter of a plain SMS; write without diacritics, and without <, > and &',
            letter=stray,
        )
    if missing := [each for each in REQUIRED[kind] if each not in template]:
        yield say("must tell the donor {missing}; add it", missing=", ".join(missing))
    asked = None if kind is ReplyKind.WRONG_FORM else _APPEAL.search(fold(plain))
    if asked is not None:
        yield say(
            'asks for another gift ("{words}"): an answer to a message may not, or it is an advertisement; leave it '
            "out",
            words=asked[0],
        )


def _stray(text: str) -> str | None:
    """The first letter that is not of the alphabet."""
    return next((each for each in text if each not in ALPHABET), None)


def _filled(template: str, hotline: str, amount_vnd: int, receipt: str) -> str:
    amount = f"{amount_vnd:,}".replace(",", ".")
    return template.replace(HOTLINE, hotline).replace(AMOUNT, amount).replace(RECEIPT, receipt)
