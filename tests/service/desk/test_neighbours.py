"""What a proposed keyword lies beside: who had it before, what a slip of a finger makes of it."""

import html

from campaigns.book.apply_file import load
from service.desk.neighbours import neighbours
from service.desk.roles import Role
from tests.service.desk.test_approvals import FORM
from tests.support.desk import logged_in, person
from tests.support.portal import Portal

FILE = """
[[campaign]]
slug = "moi"
name_vi = "Mới"
category = "fire"
organiser = "mttq"
decision = "1/QĐ"
opens_at = 2026-12-01T00:00:00+07:00
closes_at = 2027-01-01T00:00:00+07:00

  [[campaign.route]]
  short_code = "1408"
  keywords = ["VN", "NVN", "XYZ"]
  grammar = "fixed"
  unit_vnd = 20_000

  [[campaign.route]]
  short_code = "1409"
  keywords = ["UH"]
  grammar = "fixed"
  unit_vnd = 20_000
"""


async def test_a_proposal_says_what_its_keywords_lie_beside(desk_portal: Portal) -> None:
    book = desk_portal.service.catalog.book
    beside = neighbours(load(FILE.encode()), book)
    found = {(each.kind, each.keyword, each.other.slug, each.other_keyword) for each in beside}
    assert found >= {("near", "VN", "vnn", "VNN"), ("near", "NVN", "vnn", "VNN"), ("same", "UH", "old", "UH")}
    assert not [each for each in found if each[1] == "XYZ"]
    visitor = await logged_in(desk_portal, await person(desk_portal, "ke.ben", Role.OPERATOR))
    form = {**FORM, "slug": "ke-ben", "short_code": "1408", "keywords": "VNM"}
    looked = html.unescape((await visitor.post("/proposals/new", **form, look="1")).text)
    assert "VNM chỉ khác một chữ với VNN gửi 1408" in looked
