"""The account that PostgreSQL runs as, and what that account can reach.

PostgreSQL refuses to run as root, so root's server runs as another user of the system. That user may be unable to
enter the folder with the programs or a parent of the data folder: a checkout, or its environment, often lies under a
home with mode 0700. Parents are never opened up; here stand the ways around.
"""

import contextlib
import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.postgres.embedded.data_folder import PORT, DataFolder, EmbeddedServerFailed
from service.runtime.processes import clean_environment

if sys.platform != "win32":  # there the module must still import, so that the refusal can be a sentence
    import pwd

SOCKET_BYTES_MAX = 100  # a socket's address holds 107 bytes on Linux, 103 on macOS


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """A user of the system that PostgreSQL runs as when we are root, whom it refuses."""

    name: str
    uid: int
    gid: int


def run_as(account: Account | None) -> dict[str, Any]:
    """Arguments of `subprocess` that run a tool as `account`, or as ourselves, from a folder everyone can enter."""
    options: dict[str, Any] = {"cwd": "/", "env": clean_environment(), "stdin": subprocess.DEVNULL}
    return options if account is None else options | {"user": account.uid, "group": account.gid, "extra_groups": []}


def choose_account(places: DataFolder) -> Account | None:
    """None unless we are root. The owner of existing data comes first, then `postgres`, then `nobody`."""
    if os.geteuid() != 0:
        return None
    entries = {entry.pw_name: entry for entry in reversed(pwd.getpwall())}
    by_uid = {entry.pw_uid: entry for entry in entries.values()}
    owner = places.data.stat().st_uid if places.data.exists() else 0
    entry = by_uid.get(owner) if owner else entries.get("postgres") or entries.get("nobody")
    if owner and entry is None:
        account = Account(str(owner), owner, places.data.stat().st_gid)
    elif entry is None:
        raise EmbeddedServerFailed(
            "PostgreSQL does not run as root, and this system has neither a user postgres nor a user nobody: "
            "run portal1400 as an ordinary user, or set PORTAL1400_DATABASE_URL"
        )
    else:
        account = Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    try:
        subprocess.run(["/bin/sh", "-c", ":"], check=True, timeout=10, **run_as(account))
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedServerFailed(
            f"PostgreSQL does not run as root, and this process may not become user {account.name} ({error}): "
            "run portal1400 as an ordinary user, or set PORTAL1400_DATABASE_URL"
        ) from error
    return account


def is_open_to(account: Account | None, question: str, path: Path) -> bool:
    """Ask the kernel, as that account, `test question path` (-x, -w): mode bits alone do not tell all."""
    command = ["/bin/sh", "-c", 'test "$1" "$2"', "sh", question, str(path)]
    return subprocess.run(command, check=False, timeout=10, **run_as(account)).returncode == 0


def runs_for(account: Account | None, binaries: Path) -> bool:
    """Whether that account can start the programs in this folder."""
    try:
        command = [str(binaries / "postgres"), "--version"]
        done = subprocess.run(command, check=False, timeout=30, capture_output=True, **run_as(account))
    except OSError:
        return False
    return done.returncode == 0


def binaries_for(account: Account | None, binaries: Path, places: tuple[Path, ...] = ()) -> Path:
    """The folder itself, or a copy of the installation where the account can run it.

    `places` are tried in their order; none given: those that a system has for such things.
    """
    if account is None or runs_for(account, binaries):
        return binaries
    install = binaries.parent
    made = (binaries / "postgres").stat()
    mark = hashlib.sha256(f"{binaries}\0{made.st_size}\0{made.st_mtime_ns}".encode()).hexdigest()[:12]
    places = places or (Path("/var/cache"), Path("/var/tmp"), Path(tempfile.gettempdir()))  # noqa: S108 - owner is checked
    for place in places:
        home = place / f"portal1400-postgresql-{mark}"
        copy = home / install.parent.name / install.name / binaries.name
        with contextlib.suppress(OSError, shutil.Error):
            if not home.exists():
                _copy_installation(install, home)
            if home.lstat().st_uid == os.geteuid() and not home.is_symlink() and runs_for(account, copy):
                return copy
    raise EmbeddedServerFailed(
        f"PostgreSQL's programs in {binaries} cannot be run by user {account.name}, and no place for a copy was "
        f"found (tried {', '.join(map(str, places))}): install PostgreSQL of the system, or run portal1400 as an "
        "ordinary user"
    )


def _copy_installation(install: Path, home: Path) -> None:
    """Copy in one step that can be seen. A wheel's libraries lie beside its package, found by a relative path."""
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    new = Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=home.parent))
    try:
        shutil.copytree(install, new / install.parent.name / install.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, new / libraries.name, symlinks=True)
        _open_for_reading(new)
        with contextlib.suppress(OSError):  # another keeper was faster: its copy is as good
            new.rename(home)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _open_for_reading(tree: Path) -> None:
    """Give everyone what the owner may read and run, and nobody else a right to write."""
    for folder, _, files in os.walk(tree):
        for path in [Path(folder), *(Path(folder, name) for name in files)]:
            if not path.is_symlink():
                mine = path.stat().st_mode & 0o500
                path.chmod(0o200 | mine | mine >> 3 | mine >> 6)


def make_socket_folder(places: DataFolder, account: Account | None) -> Path:
    """A private folder, short enough for a socket's address: in the data folder, or in the temporary one.

    The name follows from the data folder, so that a server that was started again is found at the same address. It
    follows from the inode of a lock file, too: when somebody removes the data folder and begins anew at once, the old
    server, in its last second, must not remove the socket of the new one.
    """
    uid = os.geteuid() if account is None else account.uid
    lock = places.users_lock.stat()
    mark = hashlib.sha256(b"%d %d %s" % (lock.st_dev, lock.st_ino, os.fsencode(places.root))).hexdigest()[:12]
    for former in places.root.glob("socket-*"):
        if former.name != f"socket-{mark}":
            shutil.rmtree(former, ignore_errors=True)
    temporary = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - owner is checked
    for folder in (places.root / f"socket-{mark}", *(place / f"portal1400-{uid}-{mark}" for place in temporary)):
        # In an address a comma separates two servers.
        if "," in str(folder):
            continue
        if len(os.fsencode(folder)) + len(f"/.s.PGSQL.{PORT}") <= SOCKET_BYTES_MAX:
            with contextlib.suppress(OSError):
                folder.mkdir(mode=0o700, exist_ok=True)
                if _make_private(folder, account) and is_open_to(account, "-w", folder):
                    return folder
                folder.rmdir()
    raise EmbeddedServerFailed(
        f"no place for PostgreSQL's socket: neither {places.root} nor {tempfile.gettempdir()} can hold a private "
        f"folder with a path of at most {SOCKET_BYTES_MAX} bytes: choose another PORTAL1400_DATA_DIR"
    )


def _make_private(folder: Path, account: Account | None) -> bool:
    """Give the folder to the account alone; False when somebody else made it.

    Through one descriptor: in a shared place the name could come to mean something else between look and change.
    """
    uid = os.geteuid() if account is None else account.uid
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid not in {os.geteuid(), uid}:
            return False
        os.fchmod(descriptor, 0o700)
        if account is not None:
            os.fchown(descriptor, account.uid, account.gid)
    finally:
        os.close(descriptor)
    return True


@contextlib.contextmanager
def data_argument(account: Account | None, folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """How to name the data folder to a tool that runs as `account`: the text, and the descriptors to hand on.

    A parent that only root may enter (a home with mode 0700) hides the folder from the account that owns it. Parents
    are not ours to open; instead root opens the folder itself and the tool gets in through `/proc/self/fd`.
    """
    if account is None or is_open_to(account, "-x", folder):
        yield str(folder), ()
        return
    if not Path("/proc/self/fd").is_dir():
        raise EmbeddedServerFailed(
            f"user {account.name}, as whom PostgreSQL runs because we are root, cannot enter a parent of {folder}: "
            "choose a PORTAL1400_DATA_DIR that everyone can reach, or run portal1400 as an ordinary user"
        )
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)
