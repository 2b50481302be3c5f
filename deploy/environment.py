"""Makes Python environments, each aside first and then in its place in one step: `make setup`, `install`, `switch`.

`setup` makes `.venv` in the checkout, with the tools of developers. `install PREFIX` makes a release of its own in
PREFIX/releases, without them, for an account that owns nothing there, and points PREFIX/current at it; with `otel`
behind it also what traces need. `switch PREFIX RELEASE` points it at one that is there already. Whatever fails, or is
killed, leaves what was there whole.

Runs on a bare Python 3.11: nothing of ours or of anybody's is installed yet.
"""

import ctypes
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RENAME_EXCHANGE = 2
AT_FDCWD = -100
SYSTEM_PYTHON = Path("/usr/bin/python3")
OLDEST_PYTHON = (3, 11)
DONE = ".done"
"""The file that a whole environment has."""
UNPRIVILEGED = "nobody"
LOCKS = {"": "requirements.lock", "otel": "requirements-otel.lock"}
"""What a release is made from: without an extra, and with one."""


class NotMade(Exception):
    """An environment could not be made; the sentence says why and what to do."""


def run(*command: str | Path, **more: str) -> None:
    """Run a command to its end; `more` goes into its environment. Raises NotMade."""
    try:
        subprocess.run([str(word) for word in command], check=True, cwd=ROOT, env=os.environ | more)
    except subprocess.CalledProcessError as error:
        said = f"`{' '.join(map(str, command[:5]))} ...` ended with {error.returncode}: what it says stands above"
        raise NotMade(said) from None
    except OSError as error:
        raise NotMade(f"{command[0]} cannot be run ({error.strerror})") from None


def uv(*arguments: str | Path) -> None:
    """Run the installer. Raises NotMade."""
    run(sys.executable, "-m", "uv", *arguments, PYTHONPATH=str(ROOT / ".bootstrap"))


def fetch_installer() -> None:
    """The installer that bootstrap.lock names, in `.bootstrap`; by pip, or by the pip that a new environment has."""
    place, aside, lock = ROOT / ".bootstrap", ROOT / ".bootstrap.new", ROOT / "bootstrap.lock"
    if is_newer(place / DONE, lock):
        return
    print("setup: fetching the installer", flush=True)
    shutil.rmtree(aside, ignore_errors=True)
    quietly = ("--quiet", "--disable-pip-version-check", "--no-warn-script-location", "--root-user-action=ignore")
    wanted = ("--target", aside / "installer", "--require-hashes", "-r", lock)
    run(*pip(aside), "install", *quietly, *wanted)
    (aside / "installer" / DONE).touch()
    swap(aside / "installer", place)
    shutil.rmtree(aside, ignore_errors=True)


def pip(aside: Path) -> tuple[str | Path, ...]:
    """How pip is called: this Python's, else that of an environment made in `aside`. Raises NotMade."""
    if has("pip"):
        return sys.executable, "-m", "pip"
    if has("venv") and has("ensurepip"):
        run(sys.executable, "-m", "venv", aside / "pip")
        return aside / "pip" / "bin" / "python", "-m", "pip"
    raise NotMade(
        f"{sys.executable} has neither pip nor venv with ensurepip: install one of them (Debian and Ubuntu: apt-get "
        "install python3-venv)"
    )


def has(module: str) -> bool:
    """Whether this Python has a module."""
    asked = [sys.executable, "-c", f"import {module}"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def is_newer(made: Path, *sources: Path) -> bool:
    """Whether `made` is there and no older than any of its sources."""
    return made.exists() and all(made.stat().st_mtime >= source.stat().st_mtime for source in sources)


def swap(made: Path, place: Path) -> None:
    """Put `made` where `place` is, in one step; what was there is removed."""
    libc = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(made), os.fsencode(place)
    if not place.exists():
        made.rename(place)
        return
    if libc.renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE) != 0:
        # A file system that cannot exchange two names: a moment in which there is none of them.
        former = place.with_name(place.name + ".old")
        shutil.rmtree(former, ignore_errors=True)
        place.rename(former)
        made.rename(place)
        made = former
    shutil.rmtree(made, ignore_errors=True)


def setup() -> None:
    """`.venv` with all that the targets of the Makefile need."""
    place, aside, lock = ROOT / ".venv", ROOT / ".venv.new", ROOT / "requirements-dev.lock"
    fetch_installer()
    if is_newer(place / DONE, ROOT / ".bootstrap" / DONE, lock, ROOT / "pyproject.toml"):
        return
    print("setup: making .venv from requirements-dev.lock", flush=True)
    python = aside / "bin" / "python"
    # Relocatable: no script in it names the folder that it is made in.
    uv("venv", "--quiet", "--clear", "--relocatable", "--python", sys.executable, aside)
    uv("pip", "sync", "--quiet", "--compile-bytecode", "--python", python, "--require-hashes", lock)
    uv("pip", "install", "--quiet", "--python", python, "--no-deps", "--no-build-isolation", "--editable", ".")
    (aside / DONE).touch()
    swap(aside, place)


def install(prefix: Path, extra: str = "") -> str:
    """A new release below `prefix`, which `current` names from then on; its name. Raises NotMade."""
    if extra not in LOCKS:
        raise NotMade(f"WITH={extra} is not known: there are {', '.join(sorted(filter(None, LOCKS)))}")
    python = public_python()
    os.umask(0o022)  # every account runs it, whatever the umask of whoever installs
    fetch_installer()
    name = release_name() + (f"-{extra}" if extra else "")
    place = prefix / "releases" / name
    if not (place / DONE).exists():
        shutil.rmtree(place, ignore_errors=True)  # what an install that was killed left; nothing runs from it
        place.parent.mkdir(parents=True, exist_ok=True)
        print(f"install: making {place} from {LOCKS[extra]}", flush=True)
        make_release(python, place, ROOT / LOCKS[extra])
        require_runnable(place)
        (place / DONE).touch()
    switch(prefix, name)
    return name


def make_release(python: Path, place: Path, lock: Path) -> None:
    """An environment with the service and what it needs, byte code compiled: its account cannot write it."""
    own = place / "bin" / "python"
    constraints = ("--build-constraint", ROOT / "requirements-dev.lock")
    uv("venv", "--quiet", "--python", python, place)
    uv(
        "pip",
        "sync",
        "--quiet",
        "--compile-bytecode",
        "--python",
        own,
        "--require-hashes",
        lock,
    )
    uv("build", "--quiet", "--wheel", *constraints, "--require-hashes", "--out-dir", place / "wheel", ROOT)
    (wheel,) = (place / "wheel").glob("*.whl")
    uv("pip", "install", "--quiet", "--compile-bytecode", "--python", own, "--no-deps", wheel)


def release_name() -> str:
    """Version and commit; with the time where something is not committed."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    asked = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"{version}-{now}"
    return f"{version}-{commit}" + (f"-{now}" if commit.endswith("-dirty") else "")


def public_python() -> Path:
    """A Python that every account can run: this one, else the system's. Raises NotMade."""
    chosen = Path(sys.executable).resolve()
    if is_public(chosen):
        return Path(sys.executable)
    if is_public(SYSTEM_PYTHON.resolve()) and version_of(SYSTEM_PYTHON) >= OLDEST_PYTHON:
        print(f"install: {chosen} cannot be run by other accounts, {SYSTEM_PYTHON} is used", flush=True)
        return SYSTEM_PYTHON
    raise NotMade(
        f"{chosen} lies in a folder of one account, and the service could not run it: name another by "
        "`make install PYTHON=/usr/bin/python3` (Python 3.11 or newer)"
    )


def is_public(file: Path) -> bool:
    """Whether everybody can come to a file and run it."""
    return file.exists() and all(each.stat().st_mode & 0o001 for each in (file, *file.parents))


def version_of(python: Path) -> tuple[int, ...]:
    """Major and minor of a Python."""
    said = subprocess.run([python, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def require_runnable(release: Path) -> None:
    """Run its command once, from another folder and, where we may, as another account. Raises NotMade."""
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    command = release / "bin" / "portal1400"
    try:
        subprocess.run(
            [str(command), "--version"],
            check=True,
            cwd="/",
            env={},
            user=user,
            timeout=120,
            stdout=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NotMade(f"{command} does not run as {user or 'this account'}: {error}") from None


def switch(prefix: Path, name: str) -> None:
    """Let `current` name a release that is there, in one step. Raises NotMade."""
    releases = prefix / "releases"
    if not (releases / name / DONE).exists() or "/" in name:
        there = ", ".join(sorted(each.parent.name for each in releases.glob(f"*/{DONE}"))) or "none"
        which = f"{releases / name} is no release" if name else "RELEASE=NAME is missing"
        raise NotMade(f"{which}; there are: {there}")
    link = prefix / ".current.new"
    link.unlink(missing_ok=True)
    link.symlink_to(f"releases/{name}")
    link.replace(prefix / "current")
    print(f"{prefix}/current is {name}", flush=True)


def main(arguments: Sequence[str]) -> int:
    """`setup`, `installer`, `install PREFIX [EXTRA]` or `switch PREFIX RELEASE`; one at a time in a checkout."""
    with (ROOT / "bootstrap.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            match arguments:
                case ["setup"]:
                    setup()
                case ["installer"]:
                    fetch_installer()
                case ["install", prefix, *extras] if len(extras) <= 1:
                    install(Path(prefix).absolute(), "".join(extras))
                case ["switch", prefix, *names] if len(names) <= 1:
                    switch(Path(prefix).absolute(), "".join(names))
                case _:
                    print(__doc__, file=sys.stderr)
                    return 2
        except NotMade as refused:
            print(f"{arguments[0]}: {refused}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
