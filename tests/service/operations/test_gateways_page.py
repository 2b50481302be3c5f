"""/admin/gateways: one worker's links and several workers' together, as JSON and as a page."""

import asyncio
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from metrics.carrier_health import CarrierHealth
from metrics.instruments import Instruments
from service.listeners.listener import Listener
from service.listeners.listening_socket import bind
from service.operations import gateways_page, health
from service.operations.carrier_watch import OWN_PATH, CarrierWatch
from service.operations.siblings import Siblings
from service.runtime.clock import utc_now
from service.runtime.settings import HostPort
from tests.support.portal import Portal, eventually, message

NUMBER = "84950000001"


async def test_the_page_and_its_json_tell_how_each_link_does_and_nothing_of_a_donor(portal: Portal) -> None:
    at = datetime.now(UTC) - timedelta(seconds=7)
    for number in range(3):
        await portal.post(message(f"{NUMBER}{number}", operator_time=at.isoformat()))
    await portal.post(message(f"{NUMBER}0", operator_time=at.isoformat()))
    await portal.post(message("x", msisdn="12"))
    async with portal.http.get(f"{portal.internal}/admin/gateways") as answer:
        assert answer.content_type == "application/json"
        found = {each["account"]: each for each in (await answer.json())["gateways"]}
    assert found.keys() == {"hub", "vina", "soap"}
    assert portal.service.intake.intake.set_aside() == {}
    hub = found["hub"]
    assert hub["outcomes"] == {"accepted": 3, "duplicate": 1, "malformed": 1}
    assert (hub["state"], hub["duplicate_share"], hub["error_share"], hub["our_error_share"]) == (
        "failing",
        0.2,
        0.2,
        0,
    )
    assert 5 <= hub["delay_p50_seconds"] <= 10
    assert found["vina"]["state"] == "never"
    async with portal.http.get(f"{portal.internal}/admin/gateways", headers={"Accept": "text/html"}) as answer:
        page = await answer.text()
        assert answer.content_type == "text/html"
    assert "failing" in page
    assert "20.0%" in page
    assert NUMBER not in page
    async with portal.http.get(f"{portal.base}/admin/gateways") as answer:
        assert answer.status == 404, "the public listener has it not"


def two_ports() -> tuple[socket.socket, socket.socket]:
    """Two listening sockets, on a port and the one after it."""
    while True:
        first = bind("127.0.0.1", 0)
        try:
            return first, bind("127.0.0.1", first.getsockname()[1] + 1)
        except (OSError, OverflowError):
            first.close()


async def test_workers_of_one_installation_are_told_together_and_what_is_usual_is_kept(tmp_path: Path) -> None:
    sockets = two_ports()
    base = sockets[0].getsockname()[1]
    watches, listeners, registries = [], [], []
    aside: dict[str, str] = {}
    for index, listening in enumerate(sockets):
        instruments = Instruments(
            CollectorRegistry(), version="0", adapters=["standard"], outcomes=["accepted", "duplicate"]
        )
        instruments.intake.know_accounts(["hub"])
        instruments.intake.count_callback("hub", "standard", "accepted", 0.0)
        instruments.intake.see_callback("hub", datetime(2026, 10, 17, 20, index, tzinfo=UTC))
        carriers = CarrierHealth(instruments.register, utc_now)
        carriers.remember({"hub": [30.0] * 24})
        watch = CarrierWatch(carriers, instruments.catalog, tmp_path, utc_now, lambda: aside)
        await watch.start(Siblings(HostPort(host="0.0.0.0", port=base), base + index, "ours"), base + index)
        page = gateways_page.routes(watch, utc_now)
        listener = Listener(health.application(instruments.registry, lambda: health.Health(True, True, ()), page))
        await listener.listen(listening)
        watches.append(watch)
        registries.append(instruments.registry)
        listeners.append(listener)
    try:
        for watch in watches:
            (link,) = await watch.links()
            assert (link.callbacks, link.usual_hourly_callbacks) == (2, 60.0)
            assert link.last_callback_at == datetime(2026, 10, 17, 20, 1, tzinfo=UTC).timestamp()
        usual = ("portal1400_account_usual_hourly_callbacks", {"account": "hub"})
        await watches[0].look()
        assert registries[0].get_sample_value(*usual) == 60.0
        aside["hub"] = "off"
        await watches[0].look()
        assert registries[0].get_sample_value(*usual) is None, "what nobody waits for has no series"
        stranger = Siblings(HostPort(host="127.0.0.1", port=base), base, "another's")
        assert await stranger.ask(OWN_PATH) == []
        assert await Siblings(HostPort(host="127.0.0.1", port=base), base + 100, "ours").ask(OWN_PATH) == []

        async def is_kept() -> bool:
            kept = await asyncio.to_thread(os.listdir, tmp_path)
            return sorted(kept) == [f"carriers-{base}.json", f"carriers-{base + 1}.json"]

        await eventually(is_kept)
    finally:
        for watch in watches:
            await watch.stop()
        for listener in listeners:
            await listener.cleanup()
