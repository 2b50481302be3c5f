"""What donors are answered: what a text may hold, how long it gets, and which message gets which."""

from dataclasses import replace

import pytest

from campaigns.book.apply_entries import ApplyRefused
from campaigns.book.apply_file import book_from_file, load
from campaigns.book.book import Book, Replies
from campaigns.book.changes import Stored
from campaigns.book.grammar import ReadingOutcome
from campaigns.book.plan import plan_of
from campaigns.book.replies import ALPHABET, KIND_OF, SMS_LETTERS_MAX, ReplyKind, longest, reply_to
from campaigns.book.sentences import in_vietnamese
from campaigns.gifts.receipts import LETTERS, as_receipt, receipt_code
from tests.support.apply_files import CAMPAIGN, EARLY, ORGANISATION, ROUTE

HEAD = ORGANISATION + CAMPAIGN
"""Ten lines, behind which the texts stand."""
EMPTY = Stored(Book(0, []), {}, {}, frozenset(), frozenset())

THANKS = (
    "Cam on Quy vi da ung ho {amount} dong. Ma bien nhan {receipt}. Dien thoai ho tro {hotline}. Website: 1400.vn"
)
TEXTS = {
    "hotline": "19001530",
    "reply_thank_you": THANKS,
    "reply_wrong_form": "Sai cu phap, chua tru tien ung ho. Soan VNN n gui 1408. Ho tro {hotline}",
    "reply_closed": "Chuong trinh da ket thuc, chua tru tien ung ho. Ho tro {hotline}",
}


def written(**changes: str | None) -> str:
    lines = [f'{key} = "{text}"' for key, text in {**TEXTS, **changes}.items() if text is not None]
    return HEAD + "\n".join(lines) + "\n" + ROUTE


def told(content: str, stored: Stored = EMPTY) -> list[str]:
    return [str(each) for each in plan_of(load(content.encode()), (), stored, EARLY).told]


WRONG = {
    "a diacritic": ({"reply_closed": "Đã hết, {hotline}"}, "reply_closed", 14, 'holds "Đ"'),
    "a letter of SMS alone": ({"reply_closed": "Da het à {hotline}"}, "reply_closed", 14, 'holds "à"'),
    "two places of an SMS": ({"reply_closed": "Da het ~ {hotline}"}, "reply_closed", 14, 'holds "~"'),
    "markup": ({"reply_thank_you": f"{THANKS} <b>"}, "reply_thank_you", 12, 'holds "<"'),
    "a hub's bar": ({"reply_thank_you": f"{THANKS} |"}, "reply_thank_you", 12, 'holds "|"'),
    "no amount": (
        {"reply_thank_you": THANKS.replace("{amount}", "")},
        "reply_thank_you",
        12,
        "tell the donor {amount}",
    ),
    "no receipt": ({"reply_thank_you": THANKS.replace("{receipt}", "")}, "reply_thank_you", 12, "{receipt}"),
    "no hotline in it": ({"reply_closed": "Da ket thuc"}, "reply_closed", 14, "tell the donor {hotline}"),
    "no hotline": ({"hotline": None}, "reply_thank_you", 11, "goes with hotline"),
    "an amount of nothing": ({"reply_closed": "{amount} {hotline}"}, "reply_closed", 14, "nothing else in braces"),
    "a field we have not": ({"reply_closed": "{name} {hotline}"}, "reply_closed", 14, "nothing else in braces"),
    "an open brace": ({"reply_closed": "{hotline} {"}, "reply_closed", 14, "nothing else in braces"),
    "an appeal": ({"reply_thank_you": f"{THANKS} Hay ung ho"}, "reply_thank_you", 12, 'another gift ("HAY")'),
    "a code to text": ({"reply_closed": "Gui 1408 {hotline}"}, "reply_closed", 14, 'another gift ("GUI 1408")'),
    "over an SMS": ({"reply_thank_you": THANKS + "." * 60}, "reply_thank_you", 12, "more than one SMS"),
    "a hotline of letters": ({"hotline": "số 1900"}, "hotline", 11, 'holds "ố"'),
}


@pytest.mark.parametrize(("changes", "key", "line", "reason"), WRONG.values(), ids=WRONG.keys())
def test_a_text_that_no_donor_should_get_is_refused_at_its_key(
    changes: dict[str, str | None], key: str, line: int, reason: str
) -> None:
    with pytest.raises(ApplyRefused) as refused:
        told(written(**changes))
    (problem,) = refused.value.problems
    assert (problem.toml_path, problem.line) == (f"campaign[0].{key}", line)
    assert reason in problem.reason
    assert in_vietnamese(problem.reason) != problem.reason


def test_texts_are_previewed_at_their_longest_values() -> None:
    thanks = THANKS.format(amount="2.000.000", receipt="ACDEF-GHJKM-NPQRT", hotline="19001530")
    assert f'  a gift is answered "{thanks}" ({len(thanks)} of 160 letters)' in told(written())
    assert sum("is answered" in each for each in told(written())) == 3


def test_the_longest_gift_decides_and_one_letter_more_is_refused() -> None:
    free = SMS_LETTERS_MAX - len(longest(THANKS, Replies("19001530"), ()).replace("0 dong", "2.000.000 dong"))
    assert told(written(reply_thank_you=THANKS + "." * free))
    with pytest.raises(ApplyRefused, match="161 letters of 160"):
        told(written(reply_thank_you=THANKS + "." * (free + 1)))


def test_a_keyword_that_the_file_does_not_name_counts_for_the_length_too() -> None:
    free = SMS_LETTERS_MAX - len(longest(THANKS, Replies("19001530"), ()).replace("0 dong", "2.000.000 dong"))
    small = written(reply_thank_you=THANKS + "." * (free + 3)).replace("max_units = 100", "max_units = 1")
    assert told(small)
    book = book_from_file(load(written().encode()))
    with pytest.raises(ApplyRefused, match="163 letters of 160"):
        told(small.replace('"VNN"', '"UH"'), replace(EMPTY, book=book))


def test_each_reading_has_its_text_or_none() -> None:
    replies = Replies(**{key: str(text) for key, text in TEXTS.items()})
    answered = {each: reply_to(replies, each, 100_000, "R") for each in ReadingOutcome}
    assert answered[ReadingOutcome.COUNTED] == (
        "Cam on Quy vi da ung ho 100.000 dong. Ma bien nhan R. Dien thoai ho tro 19001530. Website: 1400.vn"
    )
    assert {each for each, text in answered.items() if text is not None} == set(KIND_OF)
    assert set(KIND_OF.values()) == set(ReplyKind)
    assert reply_to(Replies(), "counted", 1, "R") is None


def test_the_alphabet_is_what_every_hub_and_every_telephone_has_at_one_place() -> None:
    assert all(each.isascii() and each.isprintable() for each in ALPHABET)
    assert not ALPHABET & set("^{}\\[~]|`<>&")


def test_a_receipt_code_is_one_message_s_and_the_same_at_every_repeat() -> None:
    key = b"k" * 32
    code = receipt_code(key, 7, "m-1")
    assert code == receipt_code(key, 7, "m-1") == as_receipt(code.lower().replace("-", " "))
    others = {receipt_code(key, 7, "m-2"), receipt_code(key, 8, "m-1"), receipt_code(b"x" * 32, 7, "m-1")}
    assert code not in others
    assert len(others) == 3
    assert len(LETTERS) ** 14 > 2**60
    assert not set(LETTERS) & set("0O1IL2Z5S6B8U")


def test_a_receipt_code_with_a_slip_is_none() -> None:
    code = receipt_code(b"k" * 32, 7, "m-1").replace("-", "")
    wrong = [code[:at] + other + code[at + 1 :] for at in range(15) for other in LETTERS if other != code[at]]
    wrong += [code[:at] + code[at + 1] + code[at] + code[at + 2 :] for at in range(14) if code[at] != code[at + 1]]
    assert len(wrong) > 300
    assert {as_receipt(each) for each in wrong} == {None}
    assert as_receipt(code[:-1]) is None
