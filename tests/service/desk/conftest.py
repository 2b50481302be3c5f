"""One service for the tests of the desk: none of them minds what another did."""

from collections.abc import AsyncIterator

import pytest

from tests.support.databases import cloned_database
from tests.support.portal import BOOK, Portal, running, signed_account
from tests.support.postgres import TestServer

OTHERS = """
[[organisation]]
code = "redcross"
name_vi = "Hội Chữ thập đỏ Việt Nam"

[[campaign]]
slug = "bao-lu"
name_vi = "Ủng hộ đồng bào vùng lũ"
category = "storm_flood"
organiser = "redcross"
opens_at = 2020-01-01T00:00:00+07:00
closes_at = 2099-01-01T00:00:00+07:00

  [[campaign.route]]
  short_code = "1407"
  keywords = ["BL"]
  grammar = "fixed"
  unit_vnd = 20_000

[[campaign]]"""
REPORTING = signed_account("reports").replace('charging = "on_message"', 'charging = "on_report"')
"""An account whose gifts count when their charges are reported."""


@pytest.fixture(scope="module")
async def desk_portal(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """A running service with campaigns of two organisations, for one file: what another file counts is none of it."""
    book = BOOK.replace("[[campaign]]", OTHERS.lstrip(), 1) + REPORTING
    async with cloned_database(server) as dsn, running(dsn, tmp_path_factory.mktemp("desk"), book) as started:
        yield started
