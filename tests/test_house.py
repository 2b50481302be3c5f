"""Rules of the house that no other tool checks."""

import ast
import functools
import importlib
import inspect
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import asyncpg
import pytest
from aiohttp import web
from aiohttp.http_writer import StreamWriter
from aiohttp.web_protocol import RequestHandler

from campaigns.book import book
from campaigns.totals import totals
from gateways import events
from gateways.registry import ADAPTERS
from gateways.wire import fields
from metrics.invariants import INVARIANTS
from metrics.roll_up_checks import ROLL_UP_CHECKS
from metrics.subjects import SUBJECTS
from service.runtime.logs import FORBIDDEN_KEYS, RESERVED_KEYS

ROOT = Path(__file__).parent.parent
PACKAGES = ("campaigns", "metrics", "service")
SQL = re.compile(r"^\s*\(?\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")


def modules() -> list[ModuleType]:
    """Every module of the packages that speak SQL."""
    return [
        importlib.import_module(info.name)
        for package in PACKAGES
        for info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
        if not info.name.endswith("__main__")
    ]


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """What the module at `path` is made of, itself first; each module is parsed once for all rules."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module", autouse=True)
def trees() -> Iterator[None]:
    """A million nodes, which nobody needs afterwards."""
    yield
    nodes.cache_clear()


SQLITE = "service.intake.spool_file"
"""The one module that speaks to SQLite, which opens each of its statements in its own tests."""


def statements() -> dict[str, str]:
    """Every SQL constant, by the name it has where it stands."""
    found = {}
    for module in modules():
        if module.__name__ == SQLITE:
            continue
        for name, value in inspect.getmembers(module):
            if name.isupper() and isinstance(value, str) and SQL.match(value):
                found[value] = f"{module.__name__}.{name}"
    found.update({each.sql: f"invariant {each.name}" for each in (*INVARIANTS, *ROLL_UP_CHECKS)})
    found.update({each.sql: f"{subject.name}: {each.name}" for subject in SUBJECTS for each in subject.invariants})
    return {name: sql for sql, name in found.items()}


@pytest.mark.parametrize("lock", sorted(ROOT.glob("*.lock")), ids=lambda path: path.name)
def test_a_lock_file_names_no_host_and_hashes_everything(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "file:" not in text
    requirements = re.findall(r"^[A-Za-z0-9._-]+(?:\[[a-z,]+\])?==", text, re.MULTILINE)
    assert requirements
    for block in re.split(r"\n(?=[A-Za-z0-9])", text.strip()):
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_no_package_hides_the_code_under_test() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


async def test_every_statement_is_understood_by_the_database(connection: asyncpg.Connection) -> None:
    found = statements()
    assert len(found) > 40
    refused = {}
    for name, sql in found.items():
        try:
            await connection.prepare(sql)
        except asyncpg.PostgresError as error:
            refused[name] = str(error)
    assert refused == {}


def test_every_document_the_readme_names_is_there() -> None:
    for document in ("README.md", "CONTRIBUTING.md", *map(str, (ROOT / "docs").rglob("*.md"))):
        source = ROOT / document
        for target in re.findall(r"\]\(([^)#]+)", source.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (source.parent / target).exists(), f"{document} names {target}"


def test_every_advisory_lock_stands_in_the_one_table_and_no_two_are_the_same() -> None:
    found = {
        (module.__name__, name): value
        for module in modules()
        for name, value in vars(module).items()
        if name.endswith(("_LOCK", "_LOCK_SPACE")) and isinstance(value, int)
    }
    table = {name: value for (module, name), value in found.items() if module == "campaigns.schema.locks"}
    assert len(set(table.values())) == len(table) > 6
    assert {name: value for (_, name), value in found.items()} == table


def test_closed_sets_that_stand_in_two_packages_are_the_same() -> None:
    # gateways and campaigns never see each other, so each has the set; everybody else takes it from one of them.
    assert totals.CARRIERS == events.CARRIERS
    assert book.VIETNAM == fields.VIETNAM


PROTOCOLS_MAY_BE_NAMED_IN: dict[str, str] = {}
"""Modules outside gateways/ that may hold a protocol's name, with the reason. (The demo's are in an apply file.)"""


LOG_CALLS = frozenset({"debug", "info", "warning", "error", "critical", "exception", "bind", "write"})
"""`write` is what modules call a level that they chose before."""


def test_no_event_of_the_log_has_a_key_whose_value_would_be_lost() -> None:
    found, calls = [], 0
    for package in (*PACKAGES, "gateways"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in nodes(path):
                if not isinstance(node, ast.Call):
                    continue
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name not in LOG_CALLS:
                    continue
                keys = {keyword.arg for keyword in node.keywords}
                calls += bool(keys)
                found += [f"{path.name}:{node.lineno} {key}" for key in keys & (RESERVED_KEYS | FORBIDDEN_KEYS)]
    assert (found, calls > 40) == ([], True)


def test_no_protocol_is_named_outside_gateways() -> None:
    # What differs from protocol to protocol stands on its adapter or its sender.
    named = re.compile(rf"(?<!\w)(?:{'|'.join(ADAPTERS)})(?!\w)")
    found = set()
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        said = {id(node.value) for node in nodes(path) if isinstance(node, ast.Expr)}
        for node in nodes(path):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
                # `standard` is also a word of English: within a sentence it is no protocol's name.
                is_sentence = " " in node.value.strip()
                found |= {
                    f"{path.relative_to(ROOT)}:{node.lineno} {name}"
                    for name in named.findall(node.value)
                    if not (is_sentence and name == "standard")
                }
    assert [each for each in sorted(found) if each.partition(":")[0] not in PROTOCOLS_MAY_BE_NAMED_IN] == []


async def test_the_inside_of_aiohttp_is_as_the_listener_knows_it() -> None:
    # Nothing promises these names: aiohttp is held below the next release that may change them.
    async def nothing(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    server = web.Server(nothing)
    connection = RequestHandler(server, loop=server._loop)
    writer = StreamWriter(connection, server._loop)
    for owner, names in {
        web.AppRunner(web.Application()): ("_make_server",),
        server: ("_connections", "_kwargs", "_loop", "request_factory", "request_handler"),
        connection: (
            "_request_count",
            "_current_request",
            "_lingering_time",
            "_waiter",
            "_messages",
            "_loop",
            "transport",
            "peername",
            "connection_lost",
            "eof_received",
            "pause_writing",
            "finish_response",
            "force_close",
        ),
        writer: ("output_size",),
    }.items():
        missing = [name for name in names if not hasattr(owner, name)]
        assert missing == [], type(owner).__name__


def test_the_inside_of_asyncpg_is_as_our_connections_know_it() -> None:
    # The same; what it answers with is tried in tests/service/postgres/test_arrays.py.
    known = vars(asyncpg.Connection)["_introspect_types"]
    assert list(inspect.signature(known).parameters) == ["self", "typeoids", "timeout"]


HEAVY = {"PIL", "cryptography.x509", "jinja2", "reportlab", "segno", "service.desk.report_sheet", "xlsxwriter"}
"""What only a page, a certificate, a report or a workbook needs: no start of a worker waits for it."""


def test_no_start_loads_what_only_pages_and_files_for_people_need() -> None:
    found = []
    for path in (ROOT / "service").rglob("*.py"):
        if path.name == "report_sheet.py":
            continue
        # Of the module itself: not in a function, and not for the types alone.
        module = nodes(path)[0]
        assert isinstance(module, ast.Module)
        for node in module.body:
            named = []
            if isinstance(node, ast.ImportFrom):
                named = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [(path.name, name) for name in named if name in HEAVY or name.partition(".")[0] in HEAVY]
    assert found == []


ROOMS = {
    "service": {"runtime", "postgres", "listeners", "catalog", "intake", "live", "web", "pages", "operations"}
    | {"simulator", "commands", "desk", "delivery"},
    "campaigns": {"schema", "book", "totals", "gifts", "audit", "lifecycle"},
    "gateways": {"wire", "adapters", "senders", "repliers"},
}
AT_THE_DOOR = {
    "service": {"__init__", "__main__", "cli", "app"},
    "campaigns": {"__init__"},
    "gateways": {
        "__init__",
        "account",
        "callback",
        "events",
        "gateway",
        "outcome",
        "records",
        "registry",
        "replier",
        "sender",
    },
}
"""What stands in no room: the entrance of a package, and the contract of the gateways."""


@pytest.mark.parametrize("package", ROOMS)
def test_every_module_lies_in_a_room_that_the_map_names(package: str) -> None:
    folder = ROOT / package
    assert {path.stem for path in folder.glob("*.py")} <= AT_THE_DOOR[package]
    assert {path.name for path in folder.iterdir() if (path / "__init__.py").exists()} == ROOMS[package]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for room in ROOMS[package]:
        assert f"`{room}/`" in text, f"docs/architecture.md does not name {package}/{room}"


def test_the_map_names_what_there_is_and_nothing_else() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("## The map") : text.index("## Inside the larger rooms")]
    folders = [path for path in (ROOT / "tests").iterdir() if path.is_dir() and not path.name.startswith("__")]
    beside = {*(path.name for path in folders), "deploy", "docs", "tests"} - {"service", "campaigns", "gateways"}
    assert [name for name in sorted(beside - {"metrics"}) if f"`{name}/`" not in table] == []
    assert [path.stem for path in (ROOT / "metrics").glob("[a-z]*.py") if f"`{path.stem}`" not in table] == []
    groups = text[text.index("## Inside the larger rooms") : text.index("## The rules")]
    room, named, by_room = ROOT, 0, defaultdict[Path, set[str]](set)
    for line in groups.splitlines():
        cells = line.split("|")
        if len(cells) != 5 or "`" not in cells[3]:
            continue
        room = ROOT / cells[1].strip(" `") if cells[1].strip() else room
        modules = re.findall(r"`([a-z_0-9]+/?)`", cells[3])
        named += len(modules)
        by_room[room].update(modules)
        assert [each for each in modules if not (room / (each if "/" in each else f"{each}.py")).exists()] == [], room
    assert named > 150
    for room, listed in by_room.items():
        assert {path.stem for path in room.glob("[a-z]*.py")} - listed - {"assembly"} == set(), room


def imports_of(path: Path, package: str) -> set[str]:
    """The rooms of `package` that a module imports."""
    found = set()
    for node in nodes(path):
        named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in named if name.startswith(f"{package}.")}
    return found


@pytest.mark.parametrize("package", ROOMS)
def test_no_room_is_reached_from_what_it_reaches(package: str) -> None:
    arrows = {
        room: set().union(*(imports_of(path, package) for path in (ROOT / package / room).rglob("*.py"))) - {room}
        for room in ROOMS[package]
    }
    for _ in ROOMS[package]:
        free = [room for room, targets in arrows.items() if not targets & set(arrows)]
        for room in free:
            del arrows[room]
    assert arrows == {}, "these rooms import in a circle"


LINES_MAX = {"function": 80, "file": 450}
"""Of product code; what is longer wants to be split by subject."""
MAY_BE_LONGER = {"campaigns/book/vietnamese.py": "a table: the words of refusals, a row each"}
"""What may be longer all the same, and why."""


def longer_than_may_be(path: Path) -> set[str]:
    """The names of what is too long in a module: itself, by its path, and its functions."""
    name = str(path.relative_to(ROOT))
    text = path.read_text(encoding="utf-8")
    found = {name} if text.count("\n") > LINES_MAX["file"] else set()
    for node in nodes(path):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if (node.end_lineno or 0) - node.lineno >= LINES_MAX["function"]:
            found.add(f"{name} {node.name}")
    return found


def test_whoever_opens_a_file_can_read_it_in_one_sitting() -> None:
    modules = [path for folder in (*PACKAGES, "gateways", "deploy") for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 300
    assert set().union(*map(longer_than_may_be, modules)) == MAY_BE_LONGER.keys()
