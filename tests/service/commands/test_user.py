"""The people of the desk are made by the command; nothing has a password that anybody knows before."""

import argparse
import json
from typing import Any

import asyncpg
import pytest

from campaigns.schema.migrate import migrate
from service.commands import user
from service.commands.opening import CommandRefused
from service.desk.passwords import Hasher
from service.desk.people import select_people

Capture = pytest.CaptureFixture[str]


async def ran(capsys: Capture, *words: str) -> Any:
    """Run `portal1400 user ... --json`; the object it printed."""
    parser = argparse.ArgumentParser()
    user.add_arguments(parser)
    capsys.readouterr()
    assert await user.run(parser.parse_args([*words, "--json"])) == 0
    return json.loads(capsys.readouterr().out)


async def test_people_are_made_listed_disabled_and_reset(
    environ: pytest.MonkeyPatch, database_dsn: str, capsys: Capture
) -> None:
    connection = await asyncpg.connect(database_dsn)
    await migrate(connection)
    await connection.execute("INSERT INTO organisation (code, name_vi) VALUES ('mttq', 'Mặt trận')")
    made = await ran(capsys, "add", "an.nguyen", "--name", "An", "--role", "admin")
    managed = ("add", "binh", "--name", "Bình", "--role", "manager", "--organisation", "mttq")
    await ran(capsys, *managed)
    for words, sentence in (
        (managed, "binh is there already"),
        (("add", "chi", "--name", "Chi", "--role", "manager"), "a manager, and nobody else"),
        (("add", "chi", "--name", "Chi", "--role", "press", "--organisation", "mttq"), "a manager, and nobody else"),
        (
            ("add", "chi", "--name", "Chi", "--role", "manager", "--organisation", "nn"),
            "no organisation has the code",
        ),
        (("add", "Chi Lan", "--name", "Chi", "--role", "press"), "a login is 2 to 40"),
        (("add", "an.0912345678", "--name", "An", "--role", "press"), "a login is no phone number"),
        (("disable", "nobody"), "nobody has the login"),
        (("reset", "nobody"), "nobody has the login"),
    ):
        with pytest.raises(CommandRefused, match=sentence):
            await ran(capsys, *words)
    listed = await ran(capsys, "list")
    assert [(each["login"], each["role"], each["organisations"]) for each in listed["rows"]] == [
        ("an.nguyen", "admin", []),
        ("binh", "manager", ["mttq"]),
    ]

    (an,) = await select_people(connection, "an.nguyen")
    hasher = Hasher()
    assert an.password.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await hasher.is_right(made["one_time_password"], an.password, is_known=False)
    assert not await hasher.is_right(made["one_time_password"], None, is_known=False)
    hasher.close()

    assert (await ran(capsys, "disable", "binh", "--reason-text", "left, asks 0912 345 678"))["changed"]
    assert not (await ran(capsys, "disable", "binh"))["changed"]
    await connection.execute(
        "INSERT INTO desk_passkey (user_id, name, credential_id, public_key, sign_count) "
        "SELECT id, 'x', login::bytea, '', 0 FROM desk_user"
    )
    assert [each["passkeys"] for each in (await ran(capsys, "list"))["rows"]] == [1, 1]
    again = await ran(capsys, "reset", "binh")
    assert [each["passkeys"] for each in (await ran(capsys, "list"))["rows"]] == [1, 0]
    assert again["one_time_password"] != made["one_time_password"]
    log = await connection.fetch("SELECT who, act, subject, after::text, reason FROM audit_entry ORDER BY id")
    assert [(row["act"], row["subject"], row["reason"]) for row in log] == [
        ("user.add", "an.nguyen", None),
        ("user.add", "binh", None),
        ("user.disable", "binh", "left, asks [redacted]"),
        ("user.reset", "binh", None),
    ]
    assert all(row["who"].startswith("os:") for row in log)
    assert json.loads(log[1]["after"])["organisations"] == ["mttq"]
    kept = await connection.fetchval(
        "SELECT string_agg(u::text || a::text, '') FROM desk_user AS u, audit_entry AS a"
    )
    assert again["one_time_password"] not in kept
    await connection.close()


async def test_somebody_is_linked_to_a_provider_and_no_two_to_one_subject(
    environ: pytest.MonkeyPatch, database_dsn: str, capsys: Capture
) -> None:
    connection = await asyncpg.connect(database_dsn)
    await migrate(connection)
    for login in ("an", "binh"):
        await ran(capsys, "add", login, "--name", login, "--role", "press")
    an = ("link", "an", "--oidc-subject", "s-1")
    with pytest.raises(CommandRefused, match="PORTAL1400_OIDC_ISSUER is not set"):
        await ran(capsys, *an)
    environ.setenv("PORTAL1400_PUBLIC_URL", "https://portal.example")
    environ.setenv("PORTAL1400_OIDC_CLIENT_ID", "desk")
    environ.setenv("PORTAL1400_OIDC_ISSUER", "https://login.example")
    environ.setenv("PORTAL1400_OIDC_CLIENT_SECRET", "a secret")
    assert await ran(capsys, *an) == {"login": "an", "linked": True, "changed": True}
    assert not (await ran(capsys, *an))["changed"]
    for words, sentence in (
        (("link", "binh", "--oidc-subject", "s-1"), "somebody else is linked"),
        (("link", "binh", "--oidc-subject", "x" * 256), "a subject is 1 to 255"),
        (("link", "nobody", "--none"), "nobody has the login"),
    ):
        with pytest.raises(CommandRefused, match=sentence):
            await ran(capsys, *words)
    # The same name at another provider is somebody else's.
    environ.setenv("PORTAL1400_OIDC_ISSUER", "https://other.example")
    assert (await ran(capsys, "link", "binh", "--oidc-subject", "s-1"))["changed"]
    listed = await ran(capsys, "list")
    assert [each["linked"] for each in listed["rows"]] == [True, True]
    await ran(capsys, "reset", "an")
    assert (await ran(capsys, "link", "binh", "--none", "--reason-text", "left"))["changed"]
    assert [each["linked"] for each in (await ran(capsys, "list"))["rows"]] == [False, False]
    log = await connection.fetch(
        "SELECT subject, before ->> 'subject' AS was, after ->> 'issuer' AS by, reason FROM audit_entry "
        "WHERE act = 'user.link' ORDER BY id"
    )
    assert [tuple(row) for row in log] == [
        ("an", None, "https://login.example", None),
        ("binh", None, "https://other.example", None),
        ("binh", "s-1", None, "left"),
    ]
    await connection.close()
