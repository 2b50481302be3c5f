"""How the last whole conformance run of each test account on this machine ended: a file in DATA_DIR."""

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from service.runtime.files import write_durably

FILE = "conformance.json"
BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformanceRun:
    """One run over all cases. `at`: unix seconds; `is_right`: none failed, and some passed."""

    account: str
    protocol: str
    at: int
    is_right: bool
    passed: int
    failed: int


def record(data_dir: Path, run: ConformanceRun) -> None:
    """Remember it as the account's last. Raises OSError."""
    data_dir.mkdir(parents=True, exist_ok=True)
    runs = {each.account: each for each in recorded(data_dir)} | {run.account: run}
    write_durably(data_dir / FILE, orjson.dumps([asdict(each) for each in runs.values()]))


def recorded(data_dir: Path) -> list[ConformanceRun]:
    """The last run of each account; none where there is no such file, or none that we wrote."""
    try:
        with (data_dir / FILE).open("rb") as file:
            return [ConformanceRun(**each) for each in orjson.loads(file.read(BYTES_MAX))]
    except (OSError, ValueError, TypeError):
        return []
