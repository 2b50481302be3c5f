"""Which servers a DSN names."""

import pytest

from service.postgres.failover import PrimaryConnector
from service.runtime.dsn import Server, servers_of

NAMED = {
    "one": ("postgresql://u:p@db/d", [("db", 5432)]),
    "one with its port": ("postgresql://u:p@db:6432/d", [("db", 6432)]),
    "three": ("postgresql://u:p@db1:1,db2:2,db3/d", [("db1", 1), ("db2", 2), ("db3", 5432)]),
    "without a user": ("postgresql://db1,db2/d", [("db1", 5432), ("db2", 5432)]),
    "addresses": ("postgres://u@[::1]:2,10.0.0.1:1,[::2]/d", [("::1", 2), ("10.0.0.1", 1), ("::2", 5432)]),
    "addresses as parameters": ("postgres://u@/d?host=10.0.0.1,[::1]&port=1,2", [("10.0.0.1", 1), ("::1", 2)]),
    "folders of sockets": ("postgresql://u@/d?host=/run/a,/run/b", [("/run/a", 5432), ("/run/b", 5432)]),
    "a folder in the place of a host": ("postgresql://u@%2Frun%2Fa/d", [("/run/a", 5432)]),
    "hosts and ports as parameters": ("postgresql://u@/d?host=a,b&port=1,2", [("a", 1), ("b", 2)]),
    "one port for all": ("postgresql://u@a,b/d?port=7", [("a", 7), ("b", 7)]),
    "a password with a comma": ("postgresql://u:a%2Cb@db/d", [("db", 5432)]),
    "a service file": ("postgresql:///?service=portal", []),
}


@pytest.mark.parametrize(("dsn", "named"), NAMED.values(), ids=NAMED.keys())
def test_the_servers_a_dsn_names(dsn: str, named: list[tuple[str, int]]) -> None:
    assert servers_of(dsn) == tuple(Server(*each) for each in named)


def test_a_refused_dsn_is_not_quoted() -> None:
    for dsn in ("postgresql://u:hunter2@db\u2100/d", "postgresql://u:hunter2@[db/d", "postgresql://u:hunter2@db:x/d"):
        with pytest.raises(ValueError, match=r"^want ") as caught:
            servers_of(dsn)
        assert "hunter2" not in str(caught.value)


def test_an_address_in_brackets_behind_another_server_is_understood_or_the_sentence_says_how_to_name_it() -> None:
    try:
        found = servers_of("postgresql://u@10.0.0.1:1,[::1]:2/d")
    except ValueError as refused:
        # Newer releases of Python take none.
        _, _, other_way = str(refused).partition("postgresql://USER@/DATABASE")
        found = servers_of(f"postgresql://u@/d{other_way}")
        assert [server.host for server in found] == ["10.0.0.1", "::1"]
    else:
        assert found == (Server("10.0.0.1", 1), Server("::1", 2))


FOR_TOOLS = {
    "one server": ("postgresql://u@a/d", ""),
    "several": ("postgresql://u@a,b/d", "?target_session_attrs=read-write"),
    "several, with parameters": ("postgresql://u@/d?host=a,b", "&target_session_attrs=read-write"),
    "several, said already": ("postgresql://u@a,b/d?target_session_attrs=primary", ""),
}


@pytest.mark.parametrize(("dsn", "added"), FOR_TOOLS.values(), ids=FOR_TOOLS.keys())
def test_tools_are_sent_to_the_server_that_takes_writes(dsn: str, added: str) -> None:
    assert PrimaryConnector(dsn).dsn == dsn + added
