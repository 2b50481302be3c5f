"""Disks are looked at while nothing is wrong: room that is short is told before a gift needs it."""

from pathlib import Path

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from metrics.instruments import Instruments
from service.operations.disk_watch import DiskWatch, folders_of
from service.runtime.settings import read_settings
from tests.support.portal import Portal

KEY = {"PORTAL1400_SECRET_KEY": "k" * 32}


def instruments() -> Instruments:
    return Instruments(CollectorRegistry(), version="0", adapters=(), outcomes=[])


async def test_less_than_the_floor_is_told_until_there_is_room(tmp_path: Path) -> None:
    made = instruments()
    watch = DiskWatch({"data": tmp_path}, made, free_bytes_min=2**62)
    # A start on such a disk says so at once.
    await watch.start()
    (sentence,) = watch.troubles()
    assert f"the disk of {tmp_path} has " in sentence
    assert "make room" in sentence
    free = made.registry.get_sample_value("portal1400_disk_free_bytes", {"folder": "data"})
    assert free is not None
    assert free > 0
    watch._free_bytes_min = 0
    await watch.look()
    assert watch.troubles() == ()
    await watch.stop()


async def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    watch = DiskWatch({"data": tmp_path / "gone"}, instruments())
    await watch.look()
    assert "gone cannot be looked at (No such file" in "".join(watch.troubles())


async def test_each_folder_s_trouble_is_logged_when_it_begins_and_when_it_ends(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("data", "database")}
    watch = DiskWatch(folders, instruments(), free_bytes_min=0)
    folders["database"].mkdir()
    with capture_logs() as lines:
        await watch.look()
        folders["database"].rmdir()
        await watch.look()
        await watch.look()
        folders["data"].mkdir()
        await watch.look()
    assert [(line["event"], line["folder"]) for line in lines] == [
        ("disk_without_room", "data"),
        ("disk_without_room", "database"),
        ("disk_has_room_again", "data"),
    ]
    (still,) = watch.troubles()
    assert "database" in still


def test_the_disk_of_an_own_database_is_its_keeper_s_to_watch(tmp_path: Path) -> None:
    ours = {**KEY, "PORTAL1400_DATA_DIR": str(tmp_path)}
    assert folders_of(read_settings(ours)) == {"data": tmp_path, "database": tmp_path / "postgres"}
    theirs = {**ours, "PORTAL1400_DATABASE_URL": "postgresql://app@/portal?host=/run"}
    assert folders_of(read_settings(theirs)) == {"data": tmp_path}


async def test_the_service_measures_and_tells(portal: Portal) -> None:
    assert await portal.metric("portal1400_disk_free_bytes", folder="data") > 0
    portal.service.operations.disks._free_bytes_min = 2**62
    await portal.service.operations.disks.look()
    async with portal.http.get(portal.internal + "/readyz") as answer:
        assert answer.status == 200
        assert "make room" in "".join((await answer.json())["degraded"])
