"""Every sender in the pages for carriers, run as it stands there: answered as the page says, and its gift counts."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gateways.registry import ADAPTERS, SENDERS
from tests.support.databases import cloned_database
from tests.support.portal import BOOK, Portal, running
from tests.support.postgres import TestServer
from tests.support.reports import money

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl")), reason="needs curl and openssl, as its readers do"
)

PAGES = Path(__file__).parents[2] / "docs" / "carriers"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Documented(NamedTuple):
    """A page's account, its sender, and what that is said to print."""

    account: str
    sender: str
    prints: str

    @property
    def secret(self) -> str:
        """The secret in the sender's first lines."""
        found = re.search(r"^SECRET=(\S+)$", self.sender, re.MULTILINE)
        assert found is not None
        return found[1]


def documented(name: str) -> Documented:
    """What the page of protocol `name` shows."""
    blocks = BLOCK.findall((PAGES / f"{name}.md").read_text(encoding="utf-8"))
    account = next(content for language, content in blocks if language == "toml")
    ((place, sender),) = ((place, content) for place, (language, content) in enumerate(blocks) if language == "sh")
    assert blocks[place + 1][0] == "text"
    return Documented(account, sender, blocks[place + 1][1])


def local(page: Documented) -> str:
    """The account for this machine, with the secret that its sender has."""
    account = re.sub(r'"env:\w+"', f'"{page.secret}"', page.account)
    return account.replace("203.0.113.0/24", "127.0.0.0/8")


@pytest.fixture(scope="module")
async def portal(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """A running service with every page's account."""
    campaigns = BOOK[: BOOK.index("[[gateway]]")]
    book = campaigns + "\n".join(local(documented(name)) for name in sorted(ADAPTERS))
    async with cloned_database(server) as dsn, running(dsn, tmp_path_factory.mktemp("documented"), book) as started:
        yield started


async def printed(portal: Portal, script: str) -> str:
    """What a shell prints that is given `script`, with this portal in the place of the page's."""
    ran = await asyncio.create_subprocess_exec(
        "sh", "-eu", "-c", script.replace("https://portal.example", portal.base), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await ran.communicate()
    return out.decode()


async def notices(portal: Portal) -> int:
    """How many notices about charges are stored."""
    return len(await portal.fetch("SELECT FROM charge_notice"))


@pytest.mark.parametrize("name", sorted(ADAPTERS))
async def test_the_sender_of_a_page_runs_as_pasted_and_its_gift_counts_once(portal: Portal, name: str) -> None:
    page = documented(name)
    (messages, vnd), charged = await money(portal), await notices(portal)
    assert await printed(portal, page.sender) == page.prints
    assert await printed(portal, page.sender) == page.prints
    wrong = await printed(portal, page.sender.replace(f"SECRET={page.secret}", f"SECRET={page.secret[:-4]}AAA="))
    assert wrong != page.prints
    if SENDERS[name].carries_messages:
        assert await money(portal) == (messages + 1, vnd + 100_000)
    else:
        # What it charges are messages of another page.
        assert await money(portal) == (messages, vnd)
        assert await notices(portal) == charged + 1
