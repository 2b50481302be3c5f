"""The systemd unit is understood by systemd itself, and says what the documentation says."""

import configparser
import re
from pathlib import Path

from service.runtime.settings import PREFIX, Settings
from service.runtime.supervisor import KILL_AFTER_SECONDS, RESTART_PAUSES, START_SECONDS_MAX
from tests.support.systemd import COMMAND, EXPOSURE_MAX, UNIT, analyze, needs_systemd

NEWER, NEWER_KEYS = 254, ("RestartSteps", "RestartMaxDelaySec")
"""An older systemd says that it does not know these, and goes on."""


def entries(name: str) -> list[str]:
    """The values of a key, which a unit may repeat."""
    lines = (line.partition("=") for line in UNIT.read_text(encoding="utf-8").splitlines())
    return [value for key, equals, value in lines if equals and key == name]


@needs_systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """Verified as a copy whose command exists on this machine, without keys that this systemd only ignores."""
    version = int(re.findall(r"systemd (\d+)", analyze("--version"))[0])
    ignored = NEWER_KEYS if version < NEWER else ()
    lines = UNIT.read_text(encoding="utf-8").replace(COMMAND, "/bin/true").splitlines()
    copy = tmp_path / UNIT.name
    copy.write_text("\n".join(line for line in lines if not line.startswith(ignored or ("\0",))), encoding="utf-8")
    said = analyze("verify", "--man=no", "--recursive-errors=no", copy)
    assert UNIT.name not in said, said


@needs_systemd
def test_systemd_calls_it_well_confined() -> None:
    said = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", "--no-pager", UNIT)
    assert "Overall exposure level" in said


def test_it_sets_only_settings_that_exist() -> None:
    names = {entry.partition("=")[0] for entry in entries("Environment")}
    assert names <= {PREFIX + name.upper() for name in Settings.model_fields}


def test_it_gives_the_service_the_time_to_drain() -> None:
    (command,) = entries("ExecStart")
    assert re.fullmatch(re.escape(f"{COMMAND} serve --workers ") + r"\d+", command)
    assert entries("ExecReload") == ["/bin/kill -HUP $MAINPID"]
    (seconds,) = entries("TimeoutStopSec")
    drained = Settings.model_fields["shutdown_seconds"].default + KILL_AFTER_SECONDS
    assert float(seconds.removesuffix("s")) >= drained + 5
    assert entries("KillMode") == ["process"], "the embedded PostgreSQL must outlive the service's last commit"


def test_a_refused_start_is_a_failed_start_and_a_passing_cause_no_end() -> None:
    assert (entries("Type"), entries("Restart"), entries("StartLimitIntervalSec")) == (["notify"], ["always"], ["0"])
    (start,) = entries("TimeoutStartSec")
    assert float(start.removesuffix("min")) * 60 > START_SECONDS_MAX
    (watchdog,) = entries("WatchdogSec")
    # While a worker is awaited that ended again and again, nobody says that we live.
    assert float(watchdog.removesuffix("s")) >= 2 * max(RESTART_PAUSES)


def test_no_memory_is_written_to_disk() -> None:
    assert entries("LimitCORE") == ["0"]


def test_no_key_stands_twice_in_a_section_but_environment() -> None:
    text = UNIT.read_text(encoding="utf-8").replace("Environment=PORTAL1400_", "Environment-PORTAL1400_")
    configparser.ConfigParser(strict=True, interpolation=None).read_string(text)
