"""Keys: what is derived from the secret, and the random day keys that seal personal data and raw callbacks.

Day keys are wrapped by a derived key and live in `data_key`; deleting a row there destroys everything it sealed.
Nonces are random; the associated data names table, column and row, so that a sealed value cannot be moved.
"""

import hashlib
import hmac
import os
from datetime import date

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateways.wire.mac import hmac_sha256
from service.runtime.random_pool import RandomPool
from service.runtime.refusals import Refused

NONCE_BYTES = 12
KEY_BYTES = 32


class WrongSecretKey(Refused):
    """PORTAL1400_SECRET_KEY is not the one this database was made with."""


class SealBroken(Exception):
    """A sealed value does not open: wrong key, other row, or damaged."""


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


INSERT_DATA_KEY = "INSERT INTO data_key (day, wrapped) VALUES ($1, $2) ON CONFLICT (day) DO NOTHING"
SELECT_DATA_KEY = "SELECT wrapped FROM data_key WHERE day = $1"
INSERT_INSTALLATION = """
INSERT INTO installation (kind, key_check) VALUES ($1, $2) ON CONFLICT (only_row) DO NOTHING
"""
SELECT_INSTALLATION_EXISTS = "SELECT to_regclass('installation') IS NOT NULL"
SELECT_INSTALLATION = "SELECT kind, key_check FROM installation"


class Keyring:
    """Everything derived from the secret key. One per process; holds opened day keys."""

    def __init__(self, secret_key: str) -> None:
        secret = secret_key.encode()
        self.digest_key = _derive(secret, b"portal1400 digest v1")
        self._number_key = _derive(secret, b"portal1400 number v1")
        self._check = _derive(secret, b"portal1400 check v1")
        self.receipt_key = _derive(secret, b"portal1400 receipt v1")
        self.manifest_key = _derive(secret, b"portal1400 manifest v1")
        self._wrapper = Sealer(_derive(secret, b"portal1400 wrap v1"))
        self.settings = Sealer(_derive(secret, b"portal1400 settings v1"))
        self.local = Sealer(_derive(secret, b"portal1400 local v1"))
        """Seals what a machine keeps in its own files while the database is away."""
        self.desk = Sealer(_derive(secret, b"portal1400 desk v1"))
        """Seals the second factors of those who work at the desk."""
        self._desk_mac_key = _derive(secret, b"portal1400 desk mac v1")
        self._days: dict[date, Sealer] = {}

    @property
    def key_check(self) -> bytes:
        """Tells whether two things were made with the same secret, and nothing about it."""
        return hashlib.sha256(self._check).digest()

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
        associated = b"data_key:" + day.isoformat().encode()
        await connection.execute(INSERT_DATA_KEY, day, self._wrapper.seal(os.urandom(KEY_BYTES), associated))
        wrapped = await connection.fetchval(SELECT_DATA_KEY, day)
        sealer = Sealer(self._wrapper.unseal(bytes(wrapped), associated))
        self._days[day] = sealer
        return sealer

    def forget_day(self, day: date) -> None:
        """Let go of a key that was destroyed."""
        self._days.pop(day, None)

    async def find_day(self, connection: asyncpg.Connection, day: date) -> Sealer | None:
        """The key of `day`, or None where it was destroyed. Makes none."""
        wrapped = await connection.fetchval(SELECT_DATA_KEY, day)
        if wrapped is None:
            return None
        return Sealer(self._wrapper.unseal(bytes(wrapped), b"data_key:" + day.isoformat().encode()))

    async def claim(self, connection: asyncpg.Connection, kind: str) -> str:
        """Mark a new database as `kind` (live or demo) with a check value of this key; returns its kind.

        Raises WrongSecretKey when the database was made with another key.
        """
        await connection.execute(INSERT_INSTALLATION, kind, self.key_check)
        row = await connection.fetchrow(SELECT_INSTALLATION)
        assert row is not None  # noqa: S101 -- inserted above and never deleted
        self.require_own(bytes(row["key_check"]))
        return str(row["kind"])

    async def find_kind(self, connection: asyncpg.Connection) -> str | None:
        """The database's kind, or None where nobody has marked it yet. Writes nothing. Raises WrongSecretKey."""
        if not await connection.fetchval(SELECT_INSTALLATION_EXISTS):
            return None
        row = await connection.fetchrow(SELECT_INSTALLATION)
        if row is None:
            return None
        self.require_own(bytes(row["key_check"]))
        return str(row["kind"])

    def require_own(self, key_check: bytes) -> None:
        """Raises WrongSecretKey when this check value was made with another key."""
        if not hmac.compare_digest(key_check, self.key_check):
            raise WrongSecretKey(
                "PORTAL1400_SECRET_KEY is not the key this database was made with: nothing in it could be opened; "
                "set the key it was made with"
            )


def _derive(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)
