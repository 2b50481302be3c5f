"""The spool's file: what was appended is there after a kill; what is broken is refused in a sentence and kept."""

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest

from service.intake.spool_claim import claim_left, claim_own
from service.intake.spool_file import SpoolFile, SpoolRefused
from service.intake.spool_lock import SpoolLock

Damage = Callable[[Path], None]
KEY = b"k" * 32
ROOT = Path(__file__).parents[3]
APPENDER = """
import os
import sys
from pathlib import Path
from service.intake.spool_claim import claim_own

def tell(what):
    # One write for a line: a pipe takes it whole, so that who is killed leaves no half of one.
    os.write(1, f"{what}\\n".encode())

def append(number):
    tell(os.getpid())
    file = claim_own(Path(sys.argv[1]), key_check=b"k" * 32, bytes_max=2**30)
    assert file.path.name == "00.sqlite"
    while True:
        rows = [((number + at).to_bytes(16), number + at, b"s" * 700) for at in range(7)]
        file.append(rows)
        number += 7
        tell(number)
        if number % 5 == 0:
            file.remove([each.number for each in file.oldest(20)])

for line in sys.stdin:
    process = os.fork()
    if not process:
        append(int(line))
    os.waitpid(process, 0)
    tell("over")
"""
"""For each number that it reads a process that appends from there on and tells its id and how far it is."""


def claimed(folder: Path, *, key: bytes = KEY, bytes_max: int = 2**30) -> SpoolFile:
    return claim_own(folder, key_check=key, bytes_max=bytes_max)


def locked(path: Path) -> SpoolLock:
    lock = SpoolLock.claim(path)
    assert lock is not None
    return lock


def row(number: int, size: int = 100) -> tuple[bytes, int, bytes]:
    return number.to_bytes(16), number, b"s" * size


def test_records_come_back_in_their_order(tmp_path: Path) -> None:
    file = claimed(tmp_path)
    file.append([row(3), row(1), row(2)])
    found = file.oldest(2)
    assert [int.from_bytes(each.id) for each in found] == [3, 1]
    assert [int.from_bytes(each.id) for each in file.oldest(9, after=found[-1].number)] == [2]
    assert file.remove([each.number for each in found] * 2) == (2, 2)
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
    assert file.remove([each.number for each in everything[:-1]])[1] is not None
    assert file.path.stat().st_size > 15_000_000
    assert file.remove([last]) == (1, None)
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
def test_a_process_killed_at_any_instant_leaves_what_was_appended(tmp_path: Path) -> None:
    chance = random.Random(1400)
    number = 0
    command = [sys.executable, "-c", APPENDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as begun:
        assert begun.stdin is not None
        assert begun.stdout is not None
        for _ in range(8):
            print(number, file=begun.stdin, flush=True)
            process, told = int(begun.stdout.readline()), int(begun.stdout.readline())
            time.sleep(chance.random() * 0.1)
            os.kill(process, signal.SIGKILL)
            told = max(told, *map(int, iter(begun.stdout.readline, "over\n")), 0)
            found, problems = claim_left(tmp_path, key_check=KEY, bytes_max=2**30)
            assert (len(found), problems) == (1, {})
            # The numbers begin with 1; the ids, with 0.
            newest = int.from_bytes(found[0].oldest(10**6)[-1].id)
            assert told - 1 <= newest <= told + 6
            number = newest + 1
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
    assert claim_left(tmp_path, key_check=KEY, bytes_max=2**30) == ([], {})
    second.close()
    left, problems = claim_left(tmp_path, key_check=KEY, bytes_max=2**30)
    assert ([each.path.name for each in left], problems) == (["01.sqlite"], {})
    left[0].close(and_delete=True)
    assert not list(tmp_path.glob("01.sqlite*"))
    first.close()


def records(numbers: Iterable[int]) -> list[tuple[bytes, int, bytes]]:
    """Records whose content tells whether it is whole, as a sealed one does."""
    return [(number.to_bytes(16), number, sealed(number.to_bytes(16))) for number in numbers]


def sealed(identity: bytes) -> bytes:
    return hashlib.blake2b(identity).digest() * 10


def killed(folder: Path, to: Path) -> Path:
    """What a process killed now leaves of the folder it works in."""
    shutil.copytree(folder, to)
    return to


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """Fifty records half in the file and half in its log, ten let go, and then the process was killed."""
    file = claimed(tmp_path / "work")
    file.append(records(range(30)))
    file.remove([each.number for each in file.oldest(10)])
    file._database.execute("PRAGMA wal_checkpoint(RESTART)")
    for start in range(30, 50):
        file.append(records([start]))
    folder = killed(tmp_path / "work", tmp_path / "left")
    file.close()
    return folder


def flip(path: Path, share: float) -> None:
    held = bytearray(path.read_bytes())
    held[int((len(held) - 1) * share)] ^= 1
    path.write_bytes(held)


def flip_log(share: float) -> Damage:
    return lambda folder: flip(folder / "00.sqlite-wal", share)


def cut(name: str, share: float) -> Damage:
    return lambda folder: os.truncate(folder / name, int((folder / name).stat().st_size * share))


def zero(name: str, start: int, end: int) -> Damage:
    def damage(folder: Path) -> None:
        held = bytearray((folder / name).read_bytes())
        held[start:end] = bytes(end - start)
        (folder / name).write_bytes(held)

    return damage


def scribble(folder: Path) -> None:
    held = bytearray((folder / "00.sqlite").read_bytes())
    held[4096:8192] = os.urandom(4096)
    (folder / "00.sqlite").write_bytes(held)


def overwrite(folder: Path) -> None:
    (folder / "00.sqlite").write_text("not a database, certainly not" * 200, encoding="utf-8")


def unlink(*names: str) -> Damage:
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


LOG_PAGE = 24 + 4096
DAMAGES: dict[str, Damage] = {
    "log: a bit of its first frame": flip_log(0.01),
    "log: a bit in its middle": flip_log(0.5),
    "log: a bit of its last frame": flip_log(1.0),
    "log: cut to half": cut("00.sqlite-wal", 0.5),
    "log: cut by a byte": cut("00.sqlite-wal", 0.99999),
    "log: its last commits cut off": lambda folder: os.truncate(folder / "00.sqlite-wal", 32 + 20 * LOG_PAGE),
    "log: empty": cut("00.sqlite-wal", 0),
    "log: gone": unlink("00.sqlite-wal"),
    "log: header zeroed": zero("00.sqlite-wal", 0, 32),
    "log: salt zeroed": zero("00.sqlite-wal", 16, 24),
    "file: torn": lambda folder: os.truncate(folder / "00.sqlite", 4096 + 100),
    "file: cut by a page": cut("00.sqlite", 0.8),
    "file: empty": cut("00.sqlite", 0),
    "file: gone": unlink("00.sqlite"),
    "file: gone with its log": unlink("00.sqlite", "00.sqlite-wal"),
    "file: scribbled": scribble,
    "file: overwritten": overwrite,
    "mark: a bit": lambda folder: flip(folder / "00.lock", 0.5),
    "mark: cut": lambda folder: os.truncate(folder / "00.lock", 9),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_refused_by_name_and_kept_to_the_byte(left: Path, name: str) -> None:
    DAMAGES[name](left)
    before = contents(left)
    found, problems = claim_left(left, key_check=KEY, bytes_max=2**30)
    assert found == []
    assert [problem.partition(" is damaged ")[0] for problem in problems.values()] == [
        f"the spool file {left}/00.sqlite"
    ]
    assert "docs/outages.md" in problems["00"]
    # A worker takes the next file: gifts go on being taken, and what is broken stays as it is.
    own = claimed(left)
    assert (own.path.name, own.size().records) == ("01.sqlite", 0)
    own.close()
    assert {name: held for name, held in contents(left).items() if name.startswith("00")} == before


def test_whatever_a_killed_process_left_is_taken_as_it_is(left: Path) -> None:
    file = claimed(left)
    assert (file.size().records, file.is_unmarked) == (40, False)
    file.close()


@pytest.mark.parametrize(("start", "end"), [(0, 100), (18, 20)], ids=["header zeroed", "not in log mode any more"])
@pytest.mark.parametrize("is_in_log", [True, False])
def test_a_damaged_first_page_is_refused_unless_the_log_has_it_whole(
    left: Path, start: int, end: int, is_in_log: bool
) -> None:
    if not is_in_log:
        claimed(left).close()
    zero("00.sqlite", start, end)(left)
    found, problems = claim_left(left, key_check=KEY, bytes_max=2**30)
    assert (len(found), len(problems)) in ((1, 0), (0, 1))
    assert [each.size().records for each in found] in ([40], [])
    assert found or not is_in_log
    for each in found:
        each.close()


def test_no_flipped_bit_loses_a_record_without_a_word(left: Path, tmp_path: Path) -> None:
    chance = random.Random(1400)
    refused = 0
    for turn in range(80):
        folder = tmp_path / f"turn-{turn}"
        shutil.copytree(left, folder)
        name = ("00.sqlite", "00.sqlite-wal")[turn % 2]
        flip(folder / name, chance.random())
        try:
            file = claimed(folder)
        except SpoolRefused:
            refused += 1
            continue
        if file.path.name != "00.sqlite":
            refused += 1
            continue
        # Used: then all are there, and one that was changed does not open.
        assert file.size().records == 40
        file.close()
    assert 40 <= refused < 80


def test_a_damaged_file_does_not_keep_another_from_being_adopted(left: Path) -> None:
    second = SpoolFile(left / "01.sqlite", locked(left / "01.lock"), key_check=KEY, bytes_max=2**30)
    second.append([row(1)])
    second.close()
    overwrite(left)
    found, problems = claim_left(left, key_check=KEY, bytes_max=2**30)
    assert ([each.path.name for each in found], len(problems)) == (["01.sqlite"], 1)
    found[0].close()


def test_a_file_without_a_mark_is_taken_and_says_so(left: Path) -> None:
    (left / "00.lock").unlink()
    file = claimed(left)
    assert (file.size().records, file.is_unmarked) == (40, True)
    file.close()
    again = claimed(left)
    assert not again.is_unmarked
    again.close()


def test_a_file_of_a_release_that_did_not_count_is_taken(left: Path) -> None:
    file = claimed(left)
    file._database.execute("DELETE FROM about WHERE name = 'let_go'")
    file.close()
    os.truncate(left / "00.lock", 0)
    again = claimed(left)
    assert again.size().records == 40
    again.remove([each.number for each in again.oldest(1)])
    again.close()
    third = claimed(left)
    assert third.size().records == 39
    third.close()


def test_what_is_left_of_a_file_that_lost_a_record_can_be_taken_after_all(left: Path) -> None:
    claimed(left).close()
    with closing(sqlite3.connect(left / "00.sqlite", isolation_level=None)) as database:
        database.execute("DELETE FROM record WHERE number = 25")
    _, problems = claim_left(left, key_check=KEY, bytes_max=2**30)
    assert "39 records are there of 40" in problems["00"]
    # As docs/outages.md tells.
    (left / "00.lock").unlink()
    with closing(sqlite3.connect(left / "00.sqlite", isolation_level=None)) as database:
        database.execute("DELETE FROM about WHERE name = 'let_go'")
    (file,), _ = claim_left(left, key_check=KEY, bytes_max=2**30)
    assert (file.size().records, file.is_unmarked) == (39, True)
    file.close()


def test_a_write_that_the_power_cut_short_was_not_acknowledged(tmp_path: Path) -> None:
    file = claimed(tmp_path / "work")
    log = tmp_path / "work" / "00.sqlite-wal"
    file.append(records([1]))
    # The mark may be behind, the last write there in part, in whatever order the disk took its sectors.
    mark = (tmp_path / "work" / "00.lock").read_bytes()
    file.append(records([2]))
    whole = log.read_bytes()
    file.append(records(range(3, 40)))
    torn = log.read_bytes()
    chance = random.Random(1400)
    for turn in range(30):
        folder = killed(tmp_path / "work", tmp_path / f"turn-{turn}")
        (folder / "00.lock").write_bytes(mark)
        held = bytearray(torn[: chance.randrange(len(whole), len(torn) + 1)])
        for sector in range(len(whole), len(held), 512):
            if chance.random() < 0.3:
                held[sector : sector + 512] = bytes(len(held[sector : sector + 512]))
        (folder / "00.sqlite-wal").write_bytes(held)
        after = claimed(folder)
        assert (after.path.name, after.size().records) in {("00.sqlite", 2), ("00.sqlite", 39)}
        after.append(records([99]))
        after.close()
    file.close()


def test_a_deleted_file_leaves_no_mark(left: Path) -> None:
    file = claimed(left)
    file.remove([each.number for each in file.oldest(100)])
    file.close(and_delete=True)
    assert contents(left) == {"00.lock": b""}
    assert claim_left(left, key_check=KEY, bytes_max=2**30) == ([], {})


def test_a_file_that_holds_a_record_is_not_deleted_whoever_thinks_it_empty(left: Path) -> None:
    file = claimed(left)
    kept = file.size()
    file.close(and_delete=True)
    again = claimed(left)
    assert (again.size(), kept.records > 0) == (kept, True)
    again.close()


def test_a_file_of_another_key_is_refused_unless_it_is_empty_or_both_are_known(tmp_path: Path) -> None:
    claimed(tmp_path).close()
    file = claimed(tmp_path, key=b"o" * 32)
    file.append([row(1)])
    file.close()
    with pytest.raises(SpoolRefused, match="another PORTAL1400_SECRET_KEY: set that key"):
        claimed(tmp_path)
    both = claim_own(tmp_path, key_check=KEY, former_checks=(b"o" * 32,), bytes_max=2**30)
    assert len(both.oldest(2)) == 1
    both.close()
    with pytest.raises(SpoolRefused, match="another PORTAL1400_SECRET_KEY: set that key"):
        claimed(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(SpoolRefused, match=r"spool's folder .* cannot be used .* PORTAL1400_DATA_DIR"):
        claimed(tmp_path / "spool")


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    # Its mode would not stop root; a link to nowhere that can be made stops everybody.
    (tmp_path / "00.sqlite").symlink_to(tmp_path / "nowhere" / "00.sqlite")
    with pytest.raises(SpoolRefused, match=r"00\.sqlite cannot be used \(unable to open"):
        claimed(tmp_path)
