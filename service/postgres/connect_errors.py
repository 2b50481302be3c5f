"""Why there is no connection, in words: what PostgreSQL and asyncpg say, and what of it is ours to change."""

import re
import ssl
from collections.abc import Mapping

import asyncpg

from service.runtime.dsn import missing_files, session_settings_of

HOW_TO_REACH = "check that it runs and that PORTAL1400_DATABASE_URL names the right host, database, user and password"
POOLER = (
    "there is a connection pooler in between that gives each transaction another connection (pool_mode "
    "= transaction or statement): let PORTAL1400_DATABASE_URL name the server itself, or give this database "
    "pool_mode = session"
)
POOLER_REFUSES = (
    "there is a connection pooler in between (PgBouncer or its like) that refuses settings of a session: let "
    "PORTAL1400_DATABASE_URL name the server itself"
)
SHARED_STATEMENTS = (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError)
"""Statements of another session met ours: no server does that, a pooler does."""
NO_SCHEMA = (
    "no schema that search_path names is there to make the tables in: CREATE SCHEMA public, owned by the role of the "
    "service, or set search_path for the role"
)
OF_ITS_MACHINE: Mapping[type[BaseException], str] = {
    asyncpg.DiskFullError: "the disk of the database is full: make room there, nothing of it has to be restored",
    asyncpg.OutOfMemoryError: "the machine of the database has no memory left for it: end what else takes it there",
    asyncpg.PostgresIOError: "the database cannot read or write a file of its own: look at its disk (dmesg) and log",
}
"""What a server lacks that runs and answers: neither its address nor its data is to be changed for that."""
OF_THE_MOMENT: Mapping[type[BaseException], str] = {
    **OF_ITS_MACHINE,
    asyncpg.InvalidPasswordError: "it refuses the password: does PORTAL1400_DATABASE_URL have the right one?",
    asyncpg.InvalidAuthorizationSpecificationError: "it refuses the role: see PORTAL1400_DATABASE_URL, pg_hba.conf",
    asyncpg.TargetServerAttributeNotMatched: "each server that answers is a standby or set to read only",
    asyncpg.ReadOnlySQLTransactionError: "it is a standby or set to read only",
    asyncpg.TooManyConnectionsError: "all its connections are taken",
    asyncpg.CannotConnectNowError: "it is starting or stopping",
    asyncpg.InsufficientPrivilegeError: "its role may no longer do what it needs: see what was revoked",
    asyncpg.QueryCanceledError: "it took too long over a statement: somebody holds a lock, or its disk is slow",
    asyncpg.LockNotAvailableError: "somebody holds a lock",
    ConnectionRefusedError: "nothing listens at its address",
    TimeoutError: "it does not answer in time",
}
"""Why nothing is stored right now, for whoever has to choose what to mend: not every such server is away."""
SETTING = re.compile(r'configuration parameter "([A-Za-z0-9_.]{1,63})"')
OF_THE_URL = re.compile(r"root certificate file|`ssl|direct TLS|target_session_attrs")
"""Sentences of asyncpg about parameters and files; the others may quote what is given."""


def why_not(error: BaseException, dsn: str) -> str:
    """One sentence without a secret: why a connection to `dsn` failed, and what to change."""
    match error:
        case asyncpg.UndefinedObjectError() if found := SETTING.search(str(error)):
            given = [found[1], *(name for name in session_settings_of(dsn) if name != found[1])]
            return (
                f"the server knows no setting {found[1]}; neither asyncpg nor the service takes these parameters of "
                f"PORTAL1400_DATABASE_URL, so that they go to the server: {', '.join(given)}; leave out or correct "
                "what is none of its settings"
            )
        case asyncpg.ProtocolViolationError() if "unsupported startup parameter" in str(error):
            return POOLER_REFUSES
        case asyncpg.TooManyConnectionsError():
            return (
                "all connections are taken: raise max_connections, or the CONNECTION LIMIT of the database or the "
                "role; `portal1400 check` says how many are needed"
            )
        case _ if lacking := OF_ITS_MACHINE.get(type(error)):
            return lacking
        case FileNotFoundError() if absent := missing_files(dsn):
            return f"PORTAL1400_DATABASE_URL names what is not there: {', '.join(absent)}"
        case asyncpg.ClientConfigurationError() if OF_THE_URL.match(str(error)):
            return (
                "PORTAL1400_DATABASE_URL or a variable of PostgreSQL's own (PGSSLMODE, PGSSLROOTCERT, ...) cannot "
                f"be followed: {' '.join(str(error).split())}"
            )
        case ssl.SSLCertVerificationError():
            return (
                f"the server's certificate is not accepted ({error.verify_message}): see sslrootcert and the host's "
                "name in PORTAL1400_DATABASE_URL"
            )
        case _:
            return HOW_TO_REACH


def known_cause(error: BaseException) -> str | None:
    """A sentence where an error of a connection or a statement tells what is wrong with the database, else None."""
    if isinstance(error, SHARED_STATEMENTS):
        return POOLER
    return NO_SCHEMA if isinstance(error, asyncpg.InvalidSchemaNameError) else OF_ITS_MACHINE.get(type(error))


def reason_of(error: BaseException) -> str | None:
    """Why the database takes nothing just now, in a clause that quotes nothing of what it said; None: not known."""
    return OF_THE_MOMENT.get(type(error))
