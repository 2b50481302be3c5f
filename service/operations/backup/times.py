"""When this machine last made a backup and last passed a drill: files in DATA_DIR, read for the metrics."""

import time
from pathlib import Path
from typing import Literal, get_args

from service.runtime.files import write_durably

Act = Literal["backup", "drill"]
ACTS: tuple[Act, ...] = get_args(Act)
BYTES_MAX = 32
"""Of such a file: seconds since 1970, and room to spare."""


def record(data_dir: Path, act: Act) -> None:
    """Remember that an act succeeded now. Raises OSError."""
    data_dir.mkdir(parents=True, exist_ok=True)
    write_durably(_file(data_dir, act), f"{int(time.time())}\n".encode())


def last(data_dir: Path, act: Act) -> float:
    """When an act last succeeded, in unix seconds; 0 when that is not known."""
    try:
        with _file(data_dir, act).open("rb") as file:
            return float(int(file.read(BYTES_MAX)))
    except (OSError, ValueError):
        return 0.0


def _file(data_dir: Path, act: Act) -> Path:
    return data_dir / f"last-{act}"
