"""The manifest beside a dump: its figures, read in the dump's own snapshot, its SHA-256, and who made it.

With the digests of past days that the machine of the backup had sealed by then: what the facts of those days were,
whatever the dump holds.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from campaigns.schema.migrate import SELECT_HISTORY, SELECT_HISTORY_EXISTS
from campaigns.totals.rollups import select_totals, select_unallocated
from gateways.wire.mac import hmac_sha256
from metrics.board import encode, encode_unallocated
from service.operations.day_seals import SealedDays
from service.runtime.keyring import SELECT_INSTALLATION, Keyring, WrongSecretKey
from service.runtime.refusals import Refused

FORMAT = 3
READABLE = (1, 2, 3)
"""Format 1 had no seals of days; before 3 the rows of fewer tables were counted."""
SUFFIX = ".manifest.json"
MANIFEST_BYTES_MAX = 64 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
DIFFERENCES_MAX = 20
LASTING = ("messages", "units", "pledged_vnd", "uncounted")
"""Of a campaign's figures those that no migration changes."""

# What no total sums up is counted: rows of every table whose facts are locked, and of those where facts wait.
SELECT_ROWS = """
SELECT (SELECT count(*) FROM message) AS message, (SELECT count(*) FROM message_person) AS message_person,
       (SELECT count(*) FROM charge_notice) AS charge_notice, (SELECT count(*) FROM reversal) AS reversal,
       (SELECT count(*) FROM waiting_event) AS waiting_event, (SELECT count(*) FROM gift) AS gift,
       (SELECT count(*) FROM review) AS review, (SELECT count(*) FROM money_line) AS money_line,
       (SELECT count(*) FROM charge_match) AS charge_match,
       (SELECT count(*) FROM raw_callback) AS raw_callback, (SELECT count(*) FROM conflict) AS conflict,
       (SELECT count(*) FROM conflict_callback) AS conflict_callback,
       (SELECT count(*) FROM quarantine) AS quarantine,
       (SELECT count(*) FROM quarantine_act) AS quarantine_act, (SELECT count(*) FROM data_key) AS data_key,
       (SELECT count(*) FROM installation) AS installation, (SELECT count(*) FROM privacy_act) AS privacy_act,
       (SELECT count(*) FROM late_fact) AS late_fact, (SELECT count(*) FROM test_callback) AS test_callback,
       (SELECT count(*) FROM test_event) AS test_event, (SELECT count(*) FROM organisation) AS organisation,
       (SELECT count(*) FROM campaign) AS campaign,
       (SELECT count(*) FROM campaign_decision) AS campaign_decision,
       (SELECT count(*) FROM decision_withdrawal) AS decision_withdrawal,
       (SELECT count(*) FROM decision_file) AS decision_file, (SELECT count(*) FROM route) AS route,
       (SELECT count(*) FROM route_withdrawal) AS route_withdrawal,
       (SELECT count(*) FROM keyword_read) AS keyword_read,
       (SELECT count(*) FROM gateway_account) AS gateway_account,
       (SELECT count(*) FROM book_version) AS book_version,
       (SELECT count(*) FROM applied_file) AS applied_file, (SELECT count(*) FROM desk_user) AS desk_user,
       (SELECT count(*) FROM audit_entry) AS audit_entry, (SELECT count(*) FROM proposal) AS proposal,
       (SELECT count(*) FROM proposal_step) AS proposal_step,
       (SELECT count(*) FROM reattribution) AS reattribution,
       (SELECT count(*) FROM reattribution_gift) AS reattribution_gift,
       (SELECT count(*) FROM reattribution_end) AS reattribution_end,
       (SELECT count(*) FROM worklist_note) AS worklist_note, (SELECT count(*) FROM reply) AS reply
"""


class BackupRefused(Refused):
    """The backup cannot be made or trusted; the sentence says which file, why and what to do."""


class Figures(BaseModel):
    """What a database holds, as one snapshot shows it. `campaigns` and `unallocated` as the API publishes them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    key_check: str
    migrations: list[str]
    additive: list[str] = Field(default_factory=list)
    """Those of them with which a release that does not know them may start."""
    campaigns: dict[str, dict[str, Any]]
    unallocated: dict[str, Any]
    rows: dict[str, int]


class Manifest(BaseModel):
    """What stands beside a dump. `server` is the major it comes from, `tools` the one of pg_dump."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    made_at: datetime
    software: str
    server: int
    tools: int
    dump_bytes: int
    dump_sha256: str
    figures: Figures
    seals: SealedDays = Field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """What the MAC is over: what stood in the file, in this order."""
        return self.model_dump_json(exclude_unset=True).encode()

    def sealed(self, keyring: Keyring) -> bytes:
        """The manifest as a file, with a MAC that only the installation's own key can make."""
        document = {"manifest": orjson.loads(self.body), "mac": hmac_sha256(keyring.manifest_key, self.body).hex()}
        return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def _is_mac(keyring: Keyring, body: bytes, mac: bytes) -> bool:
    return any(hmac.compare_digest(mac, hmac_sha256(key, body)) for key in keyring.manifest_keys)


def beside(file: Path) -> Path:
    """Where the manifest of a dump stands."""
    return file.with_name(file.name + SUFFIX)


def read_manifest(file: Path, keyring: Keyring) -> Manifest:
    """The manifest of the dump `file`. Raises BackupRefused, also for one that another key made."""
    path = beside(file)
    try:
        with path.open("rb") as opened:
            document = orjson.loads(opened.read(MANIFEST_BYTES_MAX))
        # Asked before anything else is read: a later format may hold what this release does not know.
        if document["manifest"]["format"] not in READABLE:
            raise BackupRefused(
                f"{path} has another format than this release reads (up to {FORMAT}): install the release that "
                "made it, or a newer one"
            )
        manifest = Manifest.model_validate(document["manifest"])
        mac = bytes.fromhex(document["mac"])
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not file.exists():
            raise BackupRefused(f"{file} is not there: name a dump, beside which its manifest lies") from None
        raise BackupRefused(
            f"{path} cannot be read ({error.strerror}): the manifest belongs beside its dump; without it only "
            "PostgreSQL's own pg_restore brings the dump back, and nobody knows whether it is whole"
        ) from None
    except (ValueError, KeyError, TypeError, ValidationError):
        raise BackupRefused(f"{path} is damaged or no manifest: take another copy or another backup") from None
    try:
        keyring.require_own(bytes.fromhex(manifest.figures.key_check))
    except (WrongSecretKey, ValueError):
        raise BackupRefused(
            f"PORTAL1400_SECRET_KEY is not the key {file} was made with: nothing in it could be opened; set that key"
        ) from None
    if not _is_mac(keyring, manifest.body, mac):
        raise BackupRefused(f"{path} was changed since it was made: take another copy or another backup")
    return manifest


def require_whole(file: Path, manifest: Manifest) -> None:
    """Read the dump once and compare it with its manifest. Raises BackupRefused."""
    try:
        size, sha256 = measure(file)
    except OSError as error:
        raise BackupRefused(f"{file} cannot be read ({error.strerror}): name a file of `portal1400 backup`") from None
    if size != manifest.dump_bytes:
        raise BackupRefused(
            f"{file} has {size} bytes instead of {manifest.dump_bytes}: take another copy or another backup"
        )
    if sha256 != manifest.dump_sha256:
        raise BackupRefused(f"{file} is damaged, its SHA-256 differs: take another copy or another backup")


def measure(file: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of a file."""
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


async def collect(connection: asyncpg.Connection) -> Figures:
    """The figures in the caller's snapshot. Raises BackupRefused for a database that is none of ours."""
    if not await connection.fetchval(SELECT_HISTORY_EXISTS):
        raise BackupRefused("the database has no tables of portal1400: name the right one in PORTAL1400_DATABASE_URL")
    history = await connection.fetch(SELECT_HISTORY)
    installation = await connection.fetchrow(SELECT_INSTALLATION)
    if installation is None:
        raise BackupRefused("the database was never used by a service: there is nothing to back up")
    rows = await connection.fetchrow(SELECT_ROWS)
    assert rows is not None  # noqa: S101 -- a SELECT without FROM always has a row
    return Figures(
        kind=installation["kind"],
        key_check=bytes(installation["key_check"]).hex(),
        migrations=[row["name"] for row in history],
        additive=[row["name"] for row in history if row["additive"]],
        campaigns={each.campaign: orjson.loads(encode(each).body) for each in await select_totals(connection)},
        unallocated=orjson.loads(encode_unallocated(await select_unallocated(connection))),
        rows=dict(rows),
    )


def compare(expected: Figures, found: Figures) -> list[str]:
    """One sentence for each figure that differs, at most DIFFERENCES_MAX. Of tables those that were counted then."""
    counted = {table: count for table, count in found.rows.items() if table in expected.rows}
    wanted, there = flat(expected.model_dump()), flat(found.model_copy(update={"rows": counted}).model_dump())
    places = [*wanted, *(place for place in there if place not in wanted)]
    differences = [
        f"{place}: the manifest says {wanted.get(place, 'nothing')}, the database {there.get(place, 'nothing')}"
        for place in places
        if wanted.get(place) != there.get(place)
    ]
    return differences[:DIFFERENCES_MAX]


def compare_lasting(expected: Figures, found: Figures) -> list[str]:
    """The same for figures of a release before this one, once its migrations were applied: of what lasts."""
    return compare(_lasting(expected, found.rows), _lasting(found, expected.rows))


def _lasting(figures: Figures, known: Mapping[str, int]) -> Figures:
    """What means the same in every release; of tables those that the other has counted too."""
    campaigns = {
        slug: {name: totals.get(name) for name in LASTING} for slug, totals in sorted(figures.campaigns.items())
    }
    rows = {table: count for table, count in figures.rows.items() if table in known}
    changes = {"campaigns": campaigns, "unallocated": {}, "rows": rows, "migrations": [], "additive": []}
    return figures.model_copy(update=changes)


def flat(value: Any, place: str = "") -> dict[str, Any]:
    """Nested figures as one level, by the way to each."""
    if isinstance(value, dict):
        children = [(f"{place}.{name}" if place else str(name), child) for name, child in value.items()]
    elif isinstance(value, list):
        children = [(f"{place}[{index}]", child) for index, child in enumerate(value)]
    else:
        return {place: value}
    return {inner: leaf for name, child in children for inner, leaf in flat(child, name).items()}
