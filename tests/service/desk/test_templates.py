"""An appeal is opened from a prepared form, by two people, in under three minutes."""

import html
import re
import time

import pytest

from service.desk.roles import Role
from service.desk.templates import EMERGENCIES
from tests.support.desk import Page, logged_in, person
from tests.support.portal import Portal, eventually, message

OPENED_SECONDS_MAX = 180


def filled(page: Page) -> dict[str, str]:
    """What the form of a page would send as it stands."""
    text = page.text[page.text.index('class="fields"') :]
    inputs = re.findall(r'<input id="(\w+)"[^>]*value="([^"]*)"', text)
    fields = {name: html.unescape(value) for name, value in inputs}
    for name, options in re.findall(r'<select id="(\w+)"[^>]*>(.*?)</select>', text, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options) or re.search(r'value="([^"]*)"', options)
        assert chosen, name
        fields[name] = chosen[1]
    return fields


@pytest.mark.parametrize("template", ["storm_flood", "bao-lu"])
async def test_two_people_open_an_appeal_from_a_prepared_form_in_three_minutes(
    desk_portal: Portal, template: str
) -> None:
    portal = desk_portal
    began = time.monotonic()
    name = template.replace("_", "-")
    operator = await logged_in(portal, await person(portal, f"truc.{name}", Role.OPERATOR))
    second = await logged_in(portal, await person(portal, f"duyet.{name}", Role.FINANCE))
    assert f'value="{template}"' in (await operator.get("/proposals/new")).text
    form = filled(await operator.get(f"/proposals/new?template={template}"))
    assert (form["category"], form["name_vi"].startswith("Ủng hộ đồng bào")) == ("storm_flood", True)
    keyword = f"KC{len(template)}"
    # What a person adds: the decision, and where donors text to.
    form |= {"decision": "99/QĐ-KC", "short_code": "1406", "keywords": keyword}
    form["slug"] += f"-{len(template)}"
    looked = await operator.post("/proposals/new", **form, look="1")
    assert looked.status == 200, looked.text
    made = await operator.post("/proposals/new", **form, keep=looked.field("keep"))
    address = (made.location or "").removeprefix("/desk")
    await operator.post(f"{address}/propose")
    plan = (await second.get(address)).field("plan")
    assert (await second.post(f"{address}/approve", plan=plan)).status == 303

    async def counts() -> bool:
        return form["slug"] in portal.service.catalog.book.by_slug

    await eventually(counts)
    reply = await portal.post(message(f"emergency-{template}", keyword, short_code="1406"))
    assert reply.outcome == "accepted"
    assert time.monotonic() - began < OPENED_SECONDS_MAX


async def test_a_manager_is_filled_in_nothing_of_another_organisation(desk_portal: Portal) -> None:
    visitor = await logged_in(desk_portal, await person(desk_portal, "mau.khac", Role.MANAGER, "redcross"))
    assert filled(await visitor.get("/proposals/new?template=vnn"))["name_vi"] == ""
    page = await visitor.get("/proposals/new")
    assert [each for each in EMERGENCIES if f'value="{each}"' not in page.text] == []
