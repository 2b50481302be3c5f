"""The spool's file: what was appended is there after a kill; what is broken is refused in a sentence and kept."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.intake.spool_file import SpoolFile, SpoolRefused, claim_left, claim_own

KEY = b"k" * 32
ROOT = Path(__file__).parents[3]
APPENDER = """
import sys
from pathlib import Path
from service.intake.spool_file import claim_own
file = claim_own(Path(sys.argv[1]), key_check=b"k" * 32, bytes_max=2**30)
number = 0
while True:
    rows = [((number + at).to_bytes(16), number + at, b"s" * 700) for at in range(7)]
    file.append(rows)
    number += 7
    print(number, flush=True)
"""


def claimed(folder: Path, *, key: bytes = KEY, bytes_max: int = 2**30) -> SpoolFile:
    return claim_own(folder, key_check=key, bytes_max=bytes_max)


def row(number: int, size: int = 100) -> tuple[bytes, int, bytes]:
    return number.to_bytes(16), number, b"s" * size


def test_records_come_back_in_their_order(tmp_path: Path) -> None:
    file = claimed(tmp_path)
    file.append([row(3), row(1), row(2)])
    found = file.oldest(2)
    assert [int.from_bytes(each.id) for each in found] == [3, 1]
    assert [int.from_bytes(each.id) for each in file.oldest(9, after=found[-1].number)] == [2]
    assert file.remove([each.number for each in found]) == 2
    assert file.size() == (1, 100, 2)
    file.close()
    again = claimed(tmp_path)
    assert again.size() == (1, 100, 2)
    again.close()


def test_what_is_read_at_once_is_bounded_in_bytes_and_never_nothing(tmp_path: Path) -> None:
    file = claimed(tmp_path)
    file.append([row(1, 900), row(2, 100), row(3, 100), row(4, 2000), row(5, 1)])
    found: list[list[int]] = []
    after = 0
    while records := file.oldest(3, after, bytes_max=1000):
        found.append([int.from_bytes(each.id) for each in records])
        after = records[-1].number
    assert found == [[1, 2], [3], [4], [5]]
    file.close()


def test_an_emptied_file_gives_its_disk_back(tmp_path: Path) -> None:
    file = claimed(tmp_path)
    for start in range(0, 200, 10):
        file.append([row(number, 100_000) for number in range(start, start + 10)])
    everything = file.oldest(1000, bytes_max=2**30)
    last = everything[-1].number
    assert file.remove([each.number for each in everything[:-1]]) is not None
    assert file.path.stat().st_size > 15_000_000
    assert file.remove([last]) is None
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1_000_000
    file.append([row(900)])
    assert file.oldest(1)[0].number > last
    file.close()


def test_a_number_is_never_given_twice(tmp_path: Path) -> None:
    file = claimed(tmp_path)
    file.append([row(1)])
    first = file.oldest(1)[0].number
    file.remove([first])
    file.append([row(2)])
    assert file.oldest(1)[0].number > first
    file.close()


def test_a_refused_append_leaves_nothing(tmp_path: Path) -> None:
    file = claimed(tmp_path, bytes_max=2**20)
    with pytest.raises(SpoolRefused, match=r"cannot write .*full"):
        file.append([row(number, 100_000) for number in range(40)])
    assert file.size().records == 0
    file.append([row(1)])
    with pytest.raises(SpoolRefused, match="UNIQUE"):
        file.append([row(2), row(1)])
    assert file.size().records == 1
    file.close()


@pytest.mark.slow
def test_a_killed_process_leaves_what_was_appended(tmp_path: Path) -> None:
    for kill_after in (1, 5, 40):
        folder = tmp_path / str(kill_after)
        with subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(folder)], stdout=subprocess.PIPE, cwd=ROOT, text=True
        ) as process:
            assert process.stdout is not None
            told = [int(process.stdout.readline()) for _ in range(kill_after)][-1]
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
        told = int(rest[-1]) if rest else told
        found, problems = claim_left(folder, key_check=KEY, bytes_max=2**30)
        assert (len(found), problems) == (1, [])
        assert told <= found[0].size().records <= told + 7
        found[0].close()


def test_a_torn_end_of_the_log_costs_only_what_was_not_acknowledged(tmp_path: Path) -> None:
    file = claimed(tmp_path)
    file.append([row(1)])
    kept = (tmp_path / "00.sqlite-wal").read_bytes()
    file.append([row(2)])
    torn = (tmp_path / "00.sqlite-wal").read_bytes()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "00.sqlite").write_bytes((tmp_path / "00.sqlite").read_bytes())
    (copy / "00.sqlite-wal").write_bytes(torn[: len(kept) + 1000])
    file.close()
    after = claimed(copy)
    assert after.size().records == 1
    after.append([row(3)])
    after.close()


def test_a_file_has_one_owner(tmp_path: Path) -> None:
    first, second = claimed(tmp_path), claimed(tmp_path)
    assert [each.path.name for each in (first, second)] == ["00.sqlite", "01.sqlite"]
    assert claim_left(tmp_path, key_check=KEY, bytes_max=2**30) == ([], [])
    second.close()
    left, problems = claim_left(tmp_path, key_check=KEY, bytes_max=2**30)
    assert ([each.path.name for each in left], problems) == (["01.sqlite"], [])
    left[0].close(and_delete=True)
    assert not list(tmp_path.glob("01.sqlite*"))
    first.close()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 4096 + 100])


def scribble(path: Path) -> None:
    held = bytearray(path.read_bytes())
    held[4096:8192] = os.urandom(4096)
    path.write_bytes(held)


def overwrite(path: Path) -> None:
    path.write_text("not a database, certainly not" * 200, encoding="utf-8")


DAMAGES: dict[str, Callable[[Path], None]] = {"torn": truncate, "scribbled": scribble, "overwritten": overwrite}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_refused_and_kept(tmp_path: Path, name: str) -> None:
    file = claimed(tmp_path)
    file.append([row(number, 1000) for number in range(50)])
    path = file.path
    file.close()
    DAMAGES[name](path)
    before = path.read_bytes()
    with pytest.raises(SpoolRefused, match=r"00\.sqlite cannot be used .* acknowledged gifts .* start again"):
        claimed(tmp_path)
    found, problems = claim_left(tmp_path, key_check=KEY, bytes_max=2**30)
    assert (found, len(problems)) == ([], 1)
    assert path.read_bytes() == before


def test_a_damaged_file_does_not_keep_another_from_being_adopted(tmp_path: Path) -> None:
    first, second = claimed(tmp_path), claimed(tmp_path)
    second.append([row(1)])
    first.close()
    second.close()
    overwrite(tmp_path / "00.sqlite")
    found, problems = claim_left(tmp_path, key_check=KEY, bytes_max=2**30)
    assert ([each.path.name for each in found], len(problems)) == (["01.sqlite"], 1)
    found[0].close()


def test_a_file_of_another_key_is_refused(tmp_path: Path) -> None:
    claimed(tmp_path).close()
    with pytest.raises(SpoolRefused, match="another PORTAL1400_SECRET_KEY: set that key"):
        claimed(tmp_path, key=b"o" * 32)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(SpoolRefused, match=r"spool's folder .* cannot be used .* PORTAL1400_DATA_DIR"):
        claimed(tmp_path / "spool")


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    # Read-only by its mode would not stop root; a folder in its place stops everybody.
    (tmp_path / "00.sqlite").mkdir()
    with pytest.raises(SpoolRefused, match=r"00\.sqlite cannot be used \(unable to open"):
        claimed(tmp_path)
