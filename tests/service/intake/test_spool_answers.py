"""The list of messages that a spool said yes to: what stands in it is found, and nothing else."""

from pathlib import Path

from service.intake.spool_answers import AnswerList, has_said_yes

KEYS = [bytes([number]) * 16 for number in range(5)]


def test_a_key_is_found_in_any_list_until_it_is_cleared(tmp_path: Path) -> None:
    lists = [AnswerList(tmp_path / f"{number:02}.sqlite") for number in range(2)]
    assert not has_said_yes(tmp_path, KEYS)
    lists[1].add(KEYS[:2])
    lists[1].add([])
    lists[1].add([KEYS[3]])
    assert [has_said_yes(tmp_path, [key]) for key in KEYS] == [True, True, False, True, False]
    lists[1].clear()
    assert not has_said_yes(tmp_path, KEYS)


def test_a_key_is_found_in_its_place_alone(tmp_path: Path) -> None:
    AnswerList(tmp_path / "00.sqlite").add([b"a" * 8 + b"b" * 8, b"a" * 8 + b"c" * 8])
    assert not has_said_yes(tmp_path, [b"b" * 8 + b"a" * 8])
    assert has_said_yes(tmp_path, [b"a" * 8 + b"c" * 8])


def test_a_key_written_in_part_does_not_hide_the_next(tmp_path: Path) -> None:
    AnswerList(tmp_path / "00.sqlite").add([KEYS[0], KEYS[1][:7]])
    AnswerList(tmp_path / "00.sqlite").add([KEYS[2]])
    assert [has_said_yes(tmp_path, [key]) for key in KEYS] == [True, False, True, False, False]
