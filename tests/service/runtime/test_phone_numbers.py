"""What is taken for a phone number, in ids and in sentences, and what is not."""

import pytest

from service.runtime.phone_numbers import digits_of, without_numbers, without_numbers_of_people

WITH_ITS_BEGINNING = (
    "0912345678", "84912345678", "+84912345678", "0084912345678", "0912 345 678", "0912.345.678", "091-234-5678",
    "+84 912 345 678", "+84-91-234-56-78", "84 912 345 678", "(+84)912345678", "(091) 234 5678",
    "+84 (0)912 345 678", "0912\u00a0345\u00a0678", "0912/345/678", "0912_345_678", "0912,345,678", "09/12/34/56/78",
    "+840912345678", "840912345678", "84 (912) 34-56-78", "(84) 912 345 678", "٠٩١٢٣٤٥٦٧٨",
    "０９１２３４５６７８", "０９１２ ３４５ ６７８", "+８４９１２３４５６７８",
    "0912\u2013345\u2013678", "0912．345．678", "0912\u3000345\u3000678",
)  # fmt: skip
"""The number with its 0 or its country code, as people and programs write it."""

IN_A_SENTENCE = (
    "912345678", "912 345 678", "912-345-678", "91 234 5678", "o912345678", "O912 345 678", "o9123456o8", "9123456o8",
    "0912 / 345 / 678", "0912 - 345.678", "0912, 345, 678", "(0912) 345/678", "84.912.345.678", "84/912/345/678",
    "９１２３４５６７８", "0912 345-678", "09.12.34.56.78", "0912\u00b7345\u00b7678", "0912*345*678",
    "0912+345+678", "987.654.321", "98.765.4321", "987,654,321", "09 2012 3456", "84.98.76.54.321", "0987;654;321",
    "0987:654:321", "0987=654=321", "0987|654|321", "0987•654•321", "[0987] 654 321", "0987.....654321",
    "9 8 7 6 5 4 3 2 1", "o98765432l", "09l2345678", "O9I2345678", "00840912345678", "0912\u2212345\u2212678",
    "0912'345'678", "0912~345~678", "<0912> 345 678", "0912    345    678", "0912 -- 345 -- 678", "09.2012.3456",
    "05 2023 4567", "0909/1999 99", "84 912 345 000",
    "+84 91.234.56.78", "(+84) 91.234.56.78", "+84-91.234.56.78", "+84 912.345.678",
)  # fmt: skip
"""What only a person who wants it kept would write."""

NO_NUMBERS = (
    "84.253.145.167", "10.0.255.255:23456", "2026-11-30 09:11:28.123456Z", "file 17/2026", "1408",
    "84.000.000.000", "0.123456", "01a1fa98-0732-7163-92f1-e12bc01316aa", "1796029890.361", "20261130", "0-9 5",
    "07-08-2026 12.30", "09.08.2026 12:30", "09.08.2026 12.30.15", "08 2026 12 30", "02-2026-11-30",
    "07/08/2026 12.30", "07/08/26 12.30", "2026/07/08 12.30", "027/2026-123", "03/08/2026, 05/08/2026",
    "07/08/2026/12", "0.0.0.0", "192.168.100.200", "1.500.000.000", "912,345,678.50", "912345678 VND",
    "912.345.678 đồng", "350 000 000", "985.500.000", "985500000", "84.985.500.000",
    "985 500 000 (VND)", "985 500 000 triệu", "₫985500000", "đ 985500000", "VND985500000", "VNĐ 985500001",
    "05, 35.000.000 đ", "0, 985.500.000", "84, 985.500.000", "03-05/08/2026", "02, 03, 05, 07, 08",
    "07/08, 08/08, 09/08", "01.12-05.12.2026", "0,98765432", "123/QĐ-UBND",
    "05/2026-06/2026, 123", "350000000 đ", "VND 912345678", "123456789", "1,234,567,890", "Mùng 08/2026",
)  # fmt: skip


@pytest.mark.parametrize("written", WITH_ITS_BEGINNING)
def test_a_number_is_left_out_however_it_is_written(written: str) -> None:
    for without in (without_numbers, without_numbers_of_people):
        left = without(f"asked by {written}, twice: số")
        assert left.startswith("asked by ")
        assert left.endswith("[redacted], twice: số")
        assert len(digits_of(left)) <= 2, "at most the country's code is left"


@pytest.mark.parametrize("written", IN_A_SENTENCE)
def test_whatever_may_be_a_number_is_left_out_of_a_sentence(written: str) -> None:
    left = without_numbers_of_people(f"đã hỏi: {written}; twice")
    assert left == "đã hỏi: [redacted]; twice"


@pytest.mark.parametrize("written", NO_NUMBERS)
def test_what_is_no_number_of_a_person_is_left_as_it_is(written: str) -> None:
    sentence = f"ở {written} there"
    assert without_numbers(sentence) == sentence
    assert without_numbers_of_people(sentence) == sentence


@pytest.mark.parametrize("written", ["03 25.000.000 đ", "08.30-09.30-10.30", "03-05/08/2026 đã gửi 12"])
def test_a_day_before_an_amount_stays_in_a_sentence(written: str) -> None:
    assert without_numbers_of_people(f"ngày {written} lệch") == f"ngày {written} lệch"


@pytest.mark.parametrize(
    "written",
    [
        "dòng 350-420, 560-780 của tệp", "52678/9123 tin", "98765 - 4321", "52678 - 9123 = 43555", "98.7654321%",
        "97,8543210 %", "2001:0db8:0356:7891:2345::1", "356.789.123 USD", "912.345.678 Việt Nam đồng",
    ],
)  # fmt: skip
def test_counts_and_shares_stay_in_a_sentence(written: str) -> None:
    assert without_numbers_of_people(written) == written


def test_a_count_before_a_number_stays_and_takes_nothing_of_it() -> None:
    assert without_numbers_of_people("tuổi 35 0912 345 678") == "tuổi 35 [redacted]"
    assert without_numbers_of_people("VNN 5 +84912 345 678") == "VNN 5 [redacted]"
    assert without_numbers_of_people("1.0987654321 đã gọi") == "1.[redacted] đã gọi"


@pytest.mark.parametrize(
    "written", ["0000046377", "0000000001", "2026_09_01_20_02_53", "1764500000123", "202611300911280000000001"]
)
def test_a_counter_is_no_number(written: str) -> None:
    assert without_numbers(written) == written


@pytest.mark.parametrize("written", ["912345678", "TX912345678", "5-912345678"])
def test_nine_digits_of_an_id_stay(written: str) -> None:
    assert without_numbers(written) == written


@pytest.mark.parametrize("place", ["{} asked", "asked: {}", "số{}", "({})", "no_{}", "tel.{}", "a-{}", "5 {}"])
def test_a_number_is_found_wherever_it_stands(place: str) -> None:
    for written in ("0912345678", "0912 345 678", "0912/345/678"):
        for without in (without_numbers, without_numbers_of_people):
            left = without(place.format(written))
            assert len(digits_of(left)) <= 1, f"{left!r}"
            assert "[redacted]" in left


@pytest.mark.parametrize(
    "behind", ["đã hỏi hai lần", "đường dây bận", "đồng chí Lan", "đi", "trong ngày", "kể lại", "k nghe", "đ/c Lan"]
)
def test_what_begins_like_a_unit_makes_no_amount_of_a_number(behind: str) -> None:
    for written in (
        "987654321", "987.654.321", "0987 654 321", "(+84) 987 654 321", "(0987) 654 321", "0987 - 654321",
        "(098)7654321", "0987/654/321", "0987. 654. 321", "0987_654_321",
    ):  # fmt: skip
        assert without_numbers_of_people(f"số {written} {behind}") == f"số [redacted] {behind}"


@pytest.mark.parametrize("time", ["20261201", "202612010400", "20261201040000", "1764500001", "1764500001123"])
def test_a_number_to_which_a_time_is_glued_is_found_in_an_id(time: str) -> None:
    for without in (without_numbers, without_numbers_of_people):
        for number in ("84912345678", "0912345678"):
            assert without(f"m-{number}{time}") == f"m-[redacted]{time}"
            # Noughts at the time's end may be the number's: 0084.
            assert time.startswith(without(f"{time}{number}-1").removesuffix("[redacted]-1"))


def test_two_numbers_are_found_whatever_is_between_them() -> None:
    for between in ("/", "-", ".", " / ", ";"):
        for written in ("0912.345.678", "0912 345 678", "0912-345-678"):
            left = without_numbers_of_people(f"{written}{between}0987.654.321 và 17/0977 123 456")
            assert left == f"[redacted]{between}[redacted] và 17/[redacted]"


def test_several_numbers_are_left_out_each() -> None:
    assert without_numbers_of_people("0912345678,0987654321 và 912 345 679") == "[redacted],[redacted] và [redacted]"
    assert without_numbers("0912 345 678 0987.654.321") == "[redacted] [redacted]"


@pytest.mark.parametrize(
    "ours", ["01890a5d-ac96-774b-bcce-a0912345678b", "01890a5d-0912-7345-8678-a91234567890", "0912345678abcdef" * 4]
)
def test_an_id_or_a_digest_in_a_sentence_stays_whatever_its_digits(ours: str) -> None:
    assert without_numbers_of_people(f"see {ours}.") == f"see {ours}."


def test_digits_are_read_in_every_script() -> None:
    assert digits_of("0９1² 3٤") == "091234"
