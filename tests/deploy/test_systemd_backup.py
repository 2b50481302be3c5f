"""The units of backup and drill are understood by systemd, agree with the service's unit and with the commands."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.commands.backup import chosen_file
from service.commands.restore import chosen_file as file_for_drill
from service.operations.backup.manifest import BackupRefused
from service.runtime.settings import PREFIX, Settings
from tests.support.systemd import COMMAND, EXPOSURE_MAX, UNIT, analyze, needs_systemd

NOW = datetime(2026, 11, 22, 4, 5, 6, tzinfo=UTC)
FOLDER = UNIT.parent
BACKUP, DRILL = FOLDER / "portal1400-backup.service", FOLDER / "portal1400-drill.service"
UNITS = [pytest.param(unit, id=unit.stem) for unit in (BACKUP, DRILL)]
SAME_AS_THE_SERVICE = ("User", "Group", "WorkingDirectory", "StateDirectory", "StateDirectoryMode", "EnvironmentFile")


def entries(unit: Path, name: str) -> list[str]:
    """The values of a key, which a unit may repeat."""
    lines = (line.partition("=") for line in unit.read_text(encoding="utf-8").splitlines())
    return [value for key, equals, value in lines if equals and key == name]


@needs_systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    units = [each for unit in (BACKUP, DRILL) for each in (unit, unit.with_suffix(".timer"))]
    for unit in units:
        text = unit.read_text(encoding="utf-8").replace(COMMAND, "/bin/true")
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    said = analyze("verify", "--man=no", "--recursive-errors=no", *(tmp_path / unit.name for unit in units))
    assert "portal1400-" not in said, said


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_calls_it_well_confined(unit: Path) -> None:
    said = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", "--no-pager", unit)
    assert "Overall exposure level" in said


@needs_systemd
@pytest.mark.parametrize(
    ("unit", "when"),
    [(BACKUP, "*-*-* 03:10:00 Asia/Ho_Chi_Minh"), (DRILL, "*-*-01 04:40:00 Asia/Ho_Chi_Minh")],
    ids=["backup", "drill"],
)
def test_the_timer_comes_at_a_quiet_hour_in_vietnam(unit: Path, when: str) -> None:
    assert entries(unit.with_suffix(".timer"), "OnCalendar") == [when]
    assert when in analyze("calendar", when)


@pytest.mark.parametrize("name", SAME_AS_THE_SERVICE)
@pytest.mark.parametrize("unit", UNITS)
def test_it_runs_as_the_service_does(unit: Path, name: str) -> None:
    assert entries(unit, name) == entries(UNIT, name) != []


@pytest.mark.parametrize("unit", UNITS)
def test_it_sets_only_settings_that_exist_and_knows_the_data_that_is_served(unit: Path) -> None:
    environment = [entry for entry in entries(unit, "Environment") if entry != "TMPDIR=/var/tmp"]
    assert {entry.partition("=")[0] for entry in environment} <= {
        PREFIX + name.upper() for name in Settings.model_fields
    }
    assert set(environment) <= set(entries(UNIT, "Environment"))


def test_old_backups_are_removed_after_a_new_one_only_and_by_the_name_they_get(tmp_path: Path) -> None:
    (start,), (after,) = entries(BACKUP, "ExecStart"), entries(BACKUP, "ExecStartPost")
    folder = start.removeprefix(f"{COMMAND} backup ")
    found = re.fullmatch(r"/usr/bin/find (\S+) -maxdepth 1 -name '(\S+)\*' -mtime \+\d+ -delete", after)
    assert found is not None
    assert found[1] == folder
    assert chosen_file(tmp_path, NOW).name.startswith(found[2])
    assert not after.startswith("-")


def test_the_drill_takes_the_newest_of_what_the_backup_leaves(tmp_path: Path) -> None:
    (backup,), (drill,) = entries(BACKUP, "ExecStart"), entries(DRILL, "ExecStart")
    folder = backup.removeprefix(f"{COMMAND} backup ")
    assert drill == f"{COMMAND} restore --drill --deep {folder}"
    with pytest.raises(BackupRefused, match="holds no backup"):
        file_for_drill(tmp_path, drill=True)
    for hours in (5, 30, 1):
        chosen_file(tmp_path, NOW + timedelta(hours=hours)).touch()
    newest = chosen_file(tmp_path, NOW + timedelta(hours=30))
    newest.with_name(f"{newest.name}.manifest.json").touch()
    assert file_for_drill(tmp_path, drill=True) == newest
    with pytest.raises(BackupRefused, match="is a folder"):
        file_for_drill(tmp_path, drill=False)
