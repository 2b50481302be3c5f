"""Another secret key in the former one's place: keys of days wrapped anew, stored secrets of accounts sealed anew.

One transaction, so that a process which is killed has changed nothing. What the keys of days sealed stays as it is.
Workers go on meanwhile: they know both secrets, and make new keys with the one that the database names.
"""

from typing import NamedTuple

import asyncpg
import orjson

from campaigns.gifts.privacy import record_act
from campaigns.gifts.quarantined import Actor
from service.catalog.account_secrets import resealed
from service.desk.second_factor import place_of
from service.runtime.keyring import SELECT_INSTALLATION, Keyring

# Whoever makes a key of a day waits, and then sees which secret the database names.
LOCK_KEYS = "LOCK TABLE data_key IN SHARE ROW EXCLUSIVE MODE"
SELECT_KEYS = "SELECT day, wrapped FROM data_key ORDER BY day"
UPDATE_KEY = "UPDATE data_key SET wrapped = $2 WHERE day = $1"
SELECT_ACCOUNTS = "SELECT id, code, adapter, settings::text AS settings FROM gateway_account ORDER BY id"
UPDATE_ACCOUNT = "UPDATE gateway_account SET settings = $2::text::jsonb WHERE id = $1"
SELECT_FACTORS = "SELECT id, totp_sealed FROM desk_user WHERE totp_sealed IS NOT NULL ORDER BY id"
UPDATE_FACTOR = "UPDATE desk_user SET totp_sealed = $2 WHERE id = $1"
UPDATE_CHECK = "UPDATE installation SET current_check = $1"


class Behind(NamedTuple):
    """What the former secret still holds: keys of days, accounts with stored secrets, second factors of the desk, and
    the database's own name.
    """

    days: int
    accounts: int
    factors: int
    is_named: bool

    @property
    def is_nothing(self) -> bool:
        """Whether the former secret may be forgotten, as far as the database goes."""
        return not (self.days or self.accounts or self.factors or self.is_named)


async def rotate(connection: asyncpg.Connection, keyring: Keyring, who: Actor) -> Behind:
    """Bring all of it under the newest secret; returns what there was to do. Safe to repeat."""
    async with connection.transaction():
        await connection.execute(LOCK_KEYS)
        keys, accounts, factors, is_named = await _behind(connection, keyring)
        found = Behind(len(keys), len(accounts), len(factors), is_named)
        if found.is_nothing:
            return found
        await record_act(connection, "secret_rotated", found._asdict(), who)
        await connection.executemany(UPDATE_KEY, keys)
        await connection.executemany(UPDATE_ACCOUNT, accounts)
        await connection.executemany(UPDATE_FACTOR, factors)
        if is_named:
            await connection.execute(UPDATE_CHECK, keyring.key_check)
    return found


async def behind(connection: asyncpg.Connection, keyring: Keyring) -> Behind:
    """What `rotate` would do."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        keys, accounts, factors, is_named = await _behind(connection, keyring)
    return Behind(len(keys), len(accounts), len(factors), is_named)


async def _behind(
    connection: asyncpg.Connection, keyring: Keyring
) -> tuple[list[tuple[object, bytes]], list[tuple[int, str]], list[tuple[int, bytes]], bool]:
    row = await connection.fetchrow(SELECT_INSTALLATION)
    assert row is not None  # noqa: S101 -- whoever opened this database has claimed it
    is_named = keyring.require_own(bytes(row["key_check"])) != 0
    keys: list[tuple[object, bytes]] = []
    for row in await connection.fetch(SELECT_KEYS):
        wrapped = keyring.rewrapped(row["day"], bytes(row["wrapped"]))
        if wrapped is not None:
            keys.append((row["day"], wrapped))
    for sealer in (keyring.settings, keyring.desk):
        sealer.choose(0)
    accounts: list[tuple[int, str]] = []
    for row in await connection.fetch(SELECT_ACCOUNTS):
        sealer, settings = keyring.settings, orjson.loads(row["settings"])
        anew = resealed(row["code"], row["adapter"], settings, sealer.is_of_first, sealer.seal, sealer.unseal)
        if anew is not None:
            accounts.append((row["id"], orjson.dumps(anew).decode()))
    factors: list[tuple[int, bytes]] = []
    for row in await connection.fetch(SELECT_FACTORS):
        sealed, place = bytes(row["totp_sealed"]), place_of(row["id"])
        if not keyring.desk.is_of_first(sealed, place):
            factors.append((row["id"], keyring.desk.seal(keyring.desk.unseal(sealed, place), place)))
    return keys, accounts, factors, is_named
