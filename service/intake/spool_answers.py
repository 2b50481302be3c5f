"""Whose message a spool has said yes to, for the protocols whose answer depends on the reading of the text.

From the spool the answer is always yes. A repeat that comes when the database is back, but before the replay has
reached its record, has to hear the same, from every worker of the machine; and a spool's file can be read by its
owner alone. So beside each file lies a list of the messages in it: 16 bytes each, from which nobody learns an id.

The list is written without waiting for the disk: a killed process leaves it whole. What a loss of power takes from it
costs a repeat its yes, and the replay then flags the message.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from gateways.events import Event, Message

KEY_BYTES = 16
SUFFIX = ".answered"


def keys_of(account_id: int, events: Iterable[Event], digest_key: bytes) -> list[bytes]:
    """The messages among `events`, as they stand in a list."""
    return [
        blake2b(b"%d:%b" % (account_id, event.native_id.encode()), digest_size=KEY_BYTES, key=digest_key).digest()
        for event in events
        if isinstance(event, Message)
    ]


def has_said_yes(folder: Path, keys: Sequence[bytes]) -> bool:
    """Whether one of `keys` stands in any list of `folder`. Reads all of them: for the rare text that is refused."""
    for path in folder.glob(f"[0-9][0-9]{SUFFIX}"):
        with suppress(OSError):
            listed = path.read_bytes()
            if any(_holds(listed, key) for key in keys):
                return True
    return False


def _holds(listed: bytes, key: bytes) -> bool:
    place = listed.find(key)
    while place >= 0 and place % KEY_BYTES:
        place = listed.find(key, place + 1)
    return place >= 0


class AnswerList:
    """The list beside one spool file, for its owner. A disk that refuses it costs a repeat its yes, no more."""

    def __init__(self, path: Path) -> None:
        """`path` is the spool file's."""
        self._path = path.with_suffix(SUFFIX)
        with suppress(OSError):
            # A key that was written in part would put all after it out of their places.
            os.truncate(self._path, self._path.stat().st_size // KEY_BYTES * KEY_BYTES)

    def add(self, keys: Sequence[bytes]) -> None:
        """Keep what the spool has just taken."""
        if keys:
            with suppress(OSError), self._path.open("ab", buffering=0) as file:
                if file.write(b"".join(keys)) < len(keys) * KEY_BYTES:
                    # A disk that had room for a part of it.
                    file.truncate(file.tell() // KEY_BYTES * KEY_BYTES)

    def clear(self) -> None:
        """The spool is empty: the database has every answer."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
