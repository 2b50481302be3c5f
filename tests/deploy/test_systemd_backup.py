"""The units of the nightly backup are understood by systemd, agree with the service's unit and with the command."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.commands.backup import chosen_file
from service.runtime.settings import PREFIX, Settings
from tests.support.systemd import COMMAND, EXPOSURE_MAX, UNIT, analyze, needs_systemd

NOW = datetime(2026, 11, 22, 4, 5, 6, tzinfo=UTC)
FOLDER = UNIT.parent
BACKUP, TIMER = FOLDER / "portal1400-backup.service", FOLDER / "portal1400-backup.timer"
SAME_AS_THE_SERVICE = ("User", "Group", "WorkingDirectory", "StateDirectory", "StateDirectoryMode", "EnvironmentFile")


def entries(unit: Path, name: str) -> list[str]:
    """The values of a key, which a unit may repeat."""
    lines = (line.partition("=") for line in unit.read_text(encoding="utf-8").splitlines())
    return [value for key, equals, value in lines if equals and key == name]


@needs_systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    for unit in (BACKUP, TIMER):
        text = unit.read_text(encoding="utf-8").replace(COMMAND, "/bin/true")
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    said = analyze("verify", "--man=no", "--recursive-errors=no", tmp_path / TIMER.name, tmp_path / BACKUP.name)
    assert "portal1400-backup" not in said, said


@needs_systemd
def test_systemd_calls_it_well_confined() -> None:
    said = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", "--no-pager", BACKUP)
    assert "Overall exposure level" in said


@needs_systemd
def test_the_timer_comes_every_night_in_vietnam() -> None:
    (when,) = entries(TIMER, "OnCalendar")
    assert "03:10:00 Asia/Ho_Chi_Minh" in analyze("calendar", when)


@pytest.mark.parametrize("name", SAME_AS_THE_SERVICE)
def test_it_runs_as_the_service_does(name: str) -> None:
    assert entries(BACKUP, name) == entries(UNIT, name) != []


def test_it_sets_only_settings_that_exist_and_backs_up_the_data_that_is_served() -> None:
    environment = entries(BACKUP, "Environment")
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
