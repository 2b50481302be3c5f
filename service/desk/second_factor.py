"""The second factor: time-based codes (RFC 6238), each good once, and recovery codes for a lost telephone."""

import secrets
from datetime import datetime

import asyncpg
import pyotp

from service.desk.people import Person
from service.runtime.keyring import Keyring

ISSUER = "Cổng 1400"
WINDOW_STEPS = 1
"""Of 30 s to either side: telephones' clocks differ."""
RECOVERY_CODES = 10
RECOVERY_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
"""Without what is easily taken for another."""
RECOVERY_LENGTH = 12
QR_SCALE = 4

# Only a later step than the last: of two who show one code at once, one is let in.
UPDATE_TOTP_COUNTER = "UPDATE desk_user SET totp_counter = $2 WHERE id = $1 AND totp_counter < $2 RETURNING id"
UPDATE_TOTP = "UPDATE desk_user SET totp_sealed = $2, totp_counter = $3 WHERE id = $1"
USE_RECOVERY_CODE = """
UPDATE desk_recovery_code SET used_at = now() WHERE user_id = $1 AND code_mac = $2 AND used_at IS NULL
RETURNING user_id
"""
DELETE_RECOVERY_CODES = "DELETE FROM desk_recovery_code WHERE user_id = $1"
INSERT_RECOVERY_CODES = """
INSERT INTO desk_recovery_code (user_id, code_mac) SELECT $1, unnest($2::bytea[])
"""
COUNT_RECOVERY_CODES = "SELECT count(*) FROM desk_recovery_code WHERE user_id = $1 AND used_at IS NULL"


def new_secret() -> str:
    """A secret of 160 bits in base 32, as authenticator applications take it."""
    return pyotp.random_base32()


def address_of(secret: str, login: str) -> str:
    """The otpauth address of a secret."""
    return pyotp.TOTP(secret).provisioning_uri(name=login, issuer_name=ISSUER)


def picture_of(secret: str, login: str) -> str:
    """A QR code as a data address of an image; it is the secret itself."""
    # Loaded for the first that is drawn.
    import segno

    return segno.make(address_of(secret, login), error="m").svg_data_uri(scale=QR_SCALE, border=4, light="#ffffff")


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """The time step whose code this is, or None for a wrong code."""
    wanted = "".join(code.split())
    if not wanted.isascii() or not wanted.isdecimal():
        return None
    totp = pyotp.TOTP(secret)
    step = totp.timecode(now)
    steps = range(step - WINDOW_STEPS, step + WINDOW_STEPS + 1)
    return next((each for each in steps if secrets.compare_digest(totp.generate_otp(each), wanted)), None)


async def is_right(
    connection: asyncpg.Connection, keyring: Keyring, person: Person, code: str, now: datetime
) -> bool:
    """Whether this is a code of the person's telephone or a recovery code, not used before; it is used now."""
    if person.totp_sealed is None:
        return False
    secret = keyring.desk.unseal(person.totp_sealed, place_of(person.id)).decode()
    step = step_of(secret, code, now)
    if step is not None:
        return await connection.fetchval(UPDATE_TOTP_COUNTER, person.id, step) is not None
    mac = _code_mac(keyring, person.id, code)
    return await connection.fetchval(USE_RECOVERY_CODE, person.id, mac) is not None


async def enrol(
    connection: asyncpg.Connection, keyring: Keyring, person: Person, secret: str, step: int
) -> list[str]:
    """Take `secret` for the person's, its code of `step` having been shown; returns new recovery codes.

    Call it in a transaction.
    """
    await connection.execute(UPDATE_TOTP, person.id, keyring.desk.seal(secret.encode(), place_of(person.id)), step)
    return await renew_recovery_codes(connection, keyring, person.id)


async def renew_recovery_codes(connection: asyncpg.Connection, keyring: Keyring, user_id: int) -> list[str]:
    """New recovery codes instead of all earlier ones; they are shown once. Call it in a transaction."""
    codes = ["".join(secrets.choice(RECOVERY_LETTERS) for _ in range(RECOVERY_LENGTH)) for _ in range(RECOVERY_CODES)]
    await connection.execute(DELETE_RECOVERY_CODES, user_id)
    await connection.execute(INSERT_RECOVERY_CODES, user_id, [_code_mac(keyring, user_id, each) for each in codes])
    return [f"{each[:4]}-{each[4:8]}-{each[8:]}" for each in codes]


async def count_recovery_codes(connection: asyncpg.Connection, user_id: int) -> int:
    """How many are left."""
    return int(await connection.fetchval(COUNT_RECOVERY_CODES, user_id))


def place_of(user_id: int) -> bytes:
    """What the seal of a person's secret names."""
    return b"desk_user.totp_sealed:%d" % user_id


def _code_mac(keyring: Keyring, user_id: int, code: str) -> bytes:
    plain = "".join(letter for letter in code.lower() if letter.isalnum())
    return keyring.desk_mac(b"recovery", b"%d:%b" % (user_id, plain.encode()))
