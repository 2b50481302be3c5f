"""Files that are replaced whole, whoever else writes them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from service.runtime.files import write_durably

WRITERS = 4
ROUNDS = 25


def test_of_threads_that_write_one_file_at_once_each_ends_and_one_is_kept_whole(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    contents = [bytes([letter]) * (letter * 100) for letter in range(ord("a"), ord("a") + WRITERS)]
    for _ in range(ROUNDS):
        together = Barrier(WRITERS)

        def write(content: bytes, together: Barrier = together) -> None:
            together.wait(10)
            write_durably(path, content)

        with ThreadPoolExecutor(WRITERS) as threads:
            for written in [threads.submit(write, content) for content in contents]:
                written.result(10)
        assert path.read_bytes() in contents
        assert [each.name for each in tmp_path.iterdir()] == [path.name]
