"""Passwords: Argon2id (RFC 9106) in threads, few at once, so that who guesses takes nothing from the callbacks."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from service.desk.guessing import is_guessed_soon

MEMORY_KIB = 19_456
ITERATIONS = 2
LANES = 1
"""OWASP's password storage cheat sheet: 19 MiB, two passes, one lane. One takes some 60 ms of one core."""
SALT_BYTES = 16
HASH_BYTES = 32
LETTERS_MIN = 12
LETTERS_MAX = 128
"""NIST SP 800-63B, 5.1.1: length is what counts. The upper bound keeps a form small."""
WAITING_MAX = 8
"""So many wait for a turn; whoever comes after them is asked to come again."""
ONE_TIME_BYTES = 12
"""96 bits, 16 letters on the screen."""
Done = TypeVar("Done")


class PasswordUnfit(Exception):
    """A password that cannot be taken; `key` names the sentence."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class TooManyWaiting(Exception):
    """More passwords are being checked than there is room for."""


class Hasher:
    """Hashes and checks passwords, one at a time in each of two lanes.

    Whoever comes by a browser that has been let in before has a lane of their own: strangers cannot fill it.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")
        self._lanes = {is_known: _Lane() for is_known in (True, False)}
        self._decoy = ""

    async def hash(self, password: str, *, is_known: bool = True) -> str:
        """The PHC string of a password. Raises TooManyWaiting."""
        async with self._lanes[is_known].turn():
            return await self._run(hash_password, password)

    async def is_right(self, password: str, phc: str | None, *, is_known: bool) -> bool:
        """Whether `phc` was made of this password; None takes the same work and is never right.

        Raises TooManyWaiting.
        """
        async with self._lanes[is_known].turn():
            if phc is None:
                if not self._decoy:
                    self._decoy = await self._run(hash_password, secrets.token_urlsafe())
                await self._run(_is_right, password, self._decoy)
                return False
            return await self._run(_is_right, password, phc)

    async def require_fit(self, password: str, *names: str) -> None:
        """As `require_fit` below, in a turn of those who are known. Raises PasswordUnfit, TooManyWaiting."""
        async with self._lanes[True].turn():
            await self._run(require_fit, password, *names)

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[..., Done], *arguments: str) -> Done:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


class _Lane:
    def __init__(self) -> None:
        self._one = asyncio.Semaphore(1)
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        if self._waiting >= WAITING_MAX:
            raise TooManyWaiting
        self._waiting += 1
        try:
            async with self._one:
                yield
        finally:
            self._waiting -= 1


def hash_password(password: str) -> str:
    """The PHC string of a password, with a salt of its own."""
    salt = os.urandom(SALT_BYTES)
    argon = Argon2id(salt=salt, length=HASH_BYTES, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB)
    return argon.derive_phc_encoded(password.encode())


def _is_right(password: str, phc: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode(), phc)
    except InvalidKey:
        return False
    return True


def require_fit(password: str, *names: str) -> None:
    """Raises PasswordUnfit for a password that is short, long, or guessed soon by who knows these names.

    Call it in a thread (`Hasher.require_fit`): it counts guesses.
    """
    if len(password) < LETTERS_MIN:
        raise PasswordUnfit("password_short")
    if len(password) > LETTERS_MAX:
        raise PasswordUnfit("password_long")
    if is_guessed_soon(password, *names):
        raise PasswordUnfit("password_weak")


def one_time_password() -> str:
    """A random password for the first login."""
    return secrets.token_urlsafe(ONE_TIME_BYTES)
