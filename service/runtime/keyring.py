"""Keys: what is derived from the secret, and the random day keys that seal personal data and raw callbacks.

Day keys are wrapped by a derived key and live in `data_key`; deleting a row there destroys everything it sealed.
Nonces are random; the associated data names table, column and row, so that a sealed value cannot be moved.
"""

import hashlib
import hmac
import os
from contextlib import suppress
from datetime import date
from typing import Protocol

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from gateways.wire.mac import hmac_sha256
from service.runtime.random_pool import RandomPool
from service.runtime.refusals import Refused
from service.runtime.secret_key import carried_root
from service.runtime.settings import Settings

NONCE_BYTES = 12
KEY_BYTES = 32


class WrongSecretKey(Refused):
    """PORTAL1400_SECRET_KEY is not the one this database was made with."""


class SealBroken(Exception):
    """A sealed value does not open: wrong key, other row, or damaged."""


class Seals(Protocol):
    """What seals and opens, with one key or several."""

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """Encrypt `plain`; `associated` is authenticated, not stored."""

    def unseal(self, sealed: bytes, associated: bytes) -> bytes:
        """The plain bytes. Raises SealBroken."""


class Sealer:
    """AES-256-GCM under one key. Sealed form: nonce, then ciphertext with tag."""

    __slots__ = ("_cipher", "_random")

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._random = RandomPool()

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """Encrypt `plain`; `associated` is authenticated, not stored."""
        nonce = self._random.take(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, associated)

    def unseal(self, sealed: bytes, associated: bytes) -> bytes:
        """The plain bytes. Raises SealBroken."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
        except (InvalidTag, ValueError):
            raise SealBroken("a sealed value does not open with this key and row") from None


# With the secret that the database names, and no other: two may be known while one takes the other's place.
INSERT_DATA_KEY = """
INSERT INTO data_key (day, wrapped)
SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM installation WHERE coalesce(current_check, key_check) <> $3)
ON CONFLICT (day) DO NOTHING
"""
SELECT_DATA_KEY = "SELECT wrapped FROM data_key WHERE day = $1"
INSERT_INSTALLATION = """
INSERT INTO installation (kind, key_check) VALUES ($1, $2) ON CONFLICT (only_row) DO NOTHING
"""
SELECT_INSTALLATION_EXISTS = "SELECT to_regclass('installation') IS NOT NULL"
# A database that waits for its migrations may lack the column.
SELECT_INSTALLATION = """
SELECT kind, coalesce(decode(substr(to_jsonb(i) ->> 'current_check', 3), 'hex'), key_check) AS key_check
FROM installation AS i
"""


class _Derived:
    """What is derived from one secret."""

    def __init__(self, given: str) -> None:
        secret, carried = given.encode(), carried_root(given)
        self.root = carried or hmac.digest(bytes(KEY_BYTES), secret, hashlib.sha256)
        """From which the keys that last are derived, as from the first secret (HKDF's extract, RFC 5869, 2.2)."""
        # Another one than a release that carries nothing would make: it must not serve with keys of its own.
        self.check = _derive(secret, b"portal1400 check v2" if carried else b"portal1400 check v1")
        self.manifest_key = _derive(secret, b"portal1400 manifest v1")
        self.wrapper = Sealer(_derive(secret, b"portal1400 wrap v1"))
        self.settings = Sealer(_derive(secret, b"portal1400 settings v1"))
        self.local = Sealer(_derive(secret, b"portal1400 local v1"))
        self.desk = Sealer(_derive(secret, b"portal1400 desk v1"))
        self.statement_seed = _derive(secret, b"portal1400 statement v1")

    @property
    def key_check(self) -> bytes:
        return hashlib.sha256(self.check).digest()


class EitherSealer:
    """Seals with one of two keys and opens with both, while the secret is changed."""

    def __init__(self, *sealers: Sealer) -> None:
        self._sealers = sealers
        self._chosen = sealers[0]

    def choose(self, place: int) -> None:
        """Seal with the key at `place` from now on."""
        self._chosen = self._sealers[place]

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """Encrypt `plain` with the chosen key."""
        return self._chosen.seal(plain, associated)

    def unseal(self, sealed: bytes, associated: bytes) -> bytes:
        """The plain bytes. Raises SealBroken when neither key opens it."""
        *others, last = self._sealers
        for each in others:
            with suppress(SealBroken):
                return each.unseal(sealed, associated)
        return last.unseal(sealed, associated)

    def is_of_first(self, sealed: bytes, associated: bytes) -> bool:
        """Whether the first key opens it."""
        with suppress(SealBroken):
            self._sealers[0].unseal(sealed, associated)
            return True
        return False


class Keyring:
    """Everything derived from the secret key. One per process; holds opened day keys.

    With the `previous` secret it opens what either has sealed. A database names the one that new keys of days and
    secrets of accounts are sealed with; local files are sealed with the newer one at once.
    """

    def __init__(self, secret_key: str, previous: str | None = None) -> None:
        """Raises WrongSecretKey when `secret_key` does not carry on what `previous` has begun."""
        secrets = (secret_key,) if previous in (None, secret_key) else (secret_key, previous)
        self._derived = tuple(_Derived(each) for each in secrets)
        newest = self._derived[0]
        if any(each.root != newest.root for each in self._derived):
            raise WrongSecretKey(
                "PORTAL1400_SECRET_KEY was not made from PORTAL1400_SECRET_KEY_PREVIOUS: with it repeats would be "
                "counted again; make one with `portal1400 secret-key new`, with the former one set alone"
            )
        self.root = newest.root
        """What the next secret has to carry."""
        self.digest_key = _lasting(self.root, b"portal1400 digest v1")
        self._number_key = _lasting(self.root, b"portal1400 number v1")
        self.receipt_key = _lasting(self.root, b"portal1400 receipt v1")
        self._desk_mac_key = _lasting(self.root, b"portal1400 desk mac v1")
        self.manifest_keys = tuple(each.manifest_key for each in self._derived)
        """What others made is believed by any of these; what we make bears the first."""
        self.wrapper = EitherSealer(*(each.wrapper for each in self._derived))
        self.settings = EitherSealer(*(each.settings for each in self._derived))
        self.local = EitherSealer(*(each.local for each in self._derived))
        """Seals what a machine keeps in its own files while the database is away."""
        self.desk = EitherSealer(*(each.desk for each in self._derived))
        """Seals the second factors of those who work at the desk."""
        self.key_checks = tuple(each.key_check for each in self._derived)
        self._days: dict[date, Sealer] = {}

    @classmethod
    def of(cls, settings: Settings) -> "Keyring":
        """That of the settings. Raises SettingsRefused, WrongSecretKey."""
        previous = settings.secret_key_previous
        return cls(settings.require_secret_key(), previous.get_secret_value() if previous else None)

    @property
    def manifest_key(self) -> bytes:
        """Proves that a file is ours."""
        return self.manifest_keys[0]

    @property
    def key_check(self) -> bytes:
        """Tells whether two things were made with the same secret, and nothing about it."""
        return self.key_checks[0]

    @property
    def statement_seed(self) -> bytes:
        """Of the Ed25519 key that signs what carriers are told in writing; another secret makes another key."""
        return self._derived[0].statement_seed

    def number_hash(self, msisdn: str) -> bytes:
        """The keyed hash of a number, for joins. Personal data all the same."""
        return hmac_sha256(self._number_key, msisdn.encode())

    def desk_mac(self, purpose: bytes, content: bytes) -> bytes:
        """A keyed hash of what the desk hands out, for one purpose alone."""
        return hmac_sha256(self._desk_mac_key, purpose + b":" + content)

    def day(self, day: date) -> Sealer | None:
        """The opened key of `day`, or None where `open_day` was not called yet."""
        return self._days.get(day)

    async def open_day(self, connection: asyncpg.Connection, day: date) -> Sealer:
        """The key of `day`, made if it is not there. Two processes at once get the same one."""
        if day in self._days:
            return self._days[day]
        for each in self._derived:
            wrapped = each.wrapper.seal(os.urandom(KEY_BYTES), _associated(day))
            await connection.execute(INSERT_DATA_KEY, day, wrapped, each.key_check)
        found = await self.find_day(connection, day)
        if found is None:
            raise WrongSecretKey("the secret of this database was changed: this process has the former one alone")
        self._days[day] = found
        return found

    def forget_day(self, day: date) -> None:
        """Let go of a key that was destroyed."""
        self._days.pop(day, None)

    async def find_day(self, connection: asyncpg.Connection, day: date) -> Sealer | None:
        """The key of `day`, or None where it was destroyed. Makes none."""
        wrapped = await connection.fetchval(SELECT_DATA_KEY, day)
        return None if wrapped is None else Sealer(self.wrapper.unseal(bytes(wrapped), _associated(day)))

    def rewrapped(self, day: date, wrapped: bytes) -> bytes | None:
        """The key of `day` under the newest secret; None where it is that already. Raises SealBroken."""
        if self.wrapper.is_of_first(wrapped, _associated(day)):
            return None
        return self._derived[0].wrapper.seal(self.wrapper.unseal(wrapped, _associated(day)), _associated(day))

    async def claim(self, connection: asyncpg.Connection, kind: str) -> str:
        """Mark a new database as `kind` (live or demo) with a check value of this key; returns its kind.

        Raises WrongSecretKey when the database was made with another key.
        """
        await connection.execute(INSERT_INSTALLATION, kind, self.key_check)
        row = await connection.fetchrow(SELECT_INSTALLATION)
        assert row is not None  # noqa: S101 -- inserted above and never deleted
        self._follow(bytes(row["key_check"]))
        return str(row["kind"])

    async def find_kind(self, connection: asyncpg.Connection) -> str | None:
        """The database's kind, or None where nobody has marked it yet. Writes nothing. Raises WrongSecretKey."""
        if not await connection.fetchval(SELECT_INSTALLATION_EXISTS):
            return None
        row = await connection.fetchrow(SELECT_INSTALLATION)
        if row is None:
            return None
        self._follow(bytes(row["key_check"]))
        return str(row["kind"])

    def _follow(self, key_check: bytes) -> None:
        """Seal what goes into the database as others of its processes can open it. Raises WrongSecretKey."""
        place = self.require_own(key_check)
        self.settings.choose(place)
        self.desk.choose(place)

    def require_own(self, key_check: bytes) -> int:
        """Which of our secrets made this check value, 0 for the newest. Raises WrongSecretKey: another one did."""
        for place, ours in enumerate(self.key_checks):
            if hmac.compare_digest(key_check, ours):
                return place
        raise WrongSecretKey(
            "PORTAL1400_SECRET_KEY is not the key this database was made with: nothing in it could be opened; "
            "set the key it was made with"
        )


def _associated(day: date) -> bytes:
    return b"data_key:" + day.isoformat().encode()


def _lasting(root: bytes, info: bytes) -> bytes:
    """A key that goes on when the secret is changed: what it made is compared for ever, or lies in others' hands."""
    return HKDFExpand(algorithm=SHA256(), length=KEY_BYTES, info=info).derive(root)


def _derive(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)
