"""Public requests by route and status: labels are ours, whatever is asked for."""

import pytest

from deploy.metrics_page import ROUTES_MAX
from tests.support.portal import Portal, message

ASKED = {
    "/": ("/", 200),
    "/c/vnn": ("/c/{slug}", 200),
    "/c/nowhere": ("/c/{slug}", 404),
    "/api/v1/campaigns/vnn/totals": ("/api/v1/campaigns/{slug}/totals", 200),
    "/api/v1/campaigns/vnn/series?bucket=year": ("/api/v1/campaigns/{slug}/series", 400),
    "/static/x/y.css": ("/static/{edition}/{name}", 404),
    "/0950000001": ("none", 404),
    "/wp-login.php": ("none", 404),
}


@pytest.mark.parametrize(("address", "route", "status"), [(address, *told) for address, told in ASKED.items()])
async def test_a_request_is_counted_under_its_route(
    lasting_portal: Portal, address: str, route: str, status: int
) -> None:
    labels = {"route": route, "status": str(status)}
    before = await lasting_portal.metric("portal1400_public_requests_total", **labels)
    timed = await lasting_portal.metric("portal1400_public_request_seconds_count", route=route)
    async with lasting_portal.http.get(lasting_portal.base + address, allow_redirects=False) as answer:
        assert answer.status == status
    assert await lasting_portal.metric("portal1400_public_requests_total", **labels) == before + 1
    assert await lasting_portal.metric("portal1400_public_request_seconds_count", route=route) == timed + 1


async def test_a_request_makes_no_series_and_a_callback_is_none_of_these(lasting_portal: Portal) -> None:
    families = lasting_portal.service.instruments.listeners

    def labels() -> set[tuple[tuple[str, str], ...]]:
        (found,) = families.requests.collect()
        return {tuple(sample.labels.items()) for sample in found.samples}

    before = labels()
    for method in ("GET", "HEAD", "POST", "OPTIONS", "BREW"):
        for address in ("/", "/x/y", "/c/%00", "/api/v1/nothing"):
            async with lasting_portal.http.request(method, lasting_portal.base + address) as answer:
                await answer.read()
    counted = sum(sample.value for family in families.requests.collect() for sample in family.samples)
    await lasting_portal.post(message("m-1"))
    assert sum(sample.value for family in families.requests.collect() for sample in family.samples) == counted
    assert labels() == before
    assert len({dict(each)["route"] for each in before}) <= ROUTES_MAX
