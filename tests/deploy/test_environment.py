"""Environments come into their place whole, or what was there stays."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.processes import ROOT


@pytest.fixture(scope="module")
def environment() -> ModuleType:
    """The script, which lies in no package."""
    spec = importlib.util.spec_from_file_location("environment", ROOT / "deploy" / "environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_environment_takes_its_place_and_the_former_goes(environment: ModuleType, tmp_path: Path) -> None:
    for turn in ("first", "second"):
        made = tmp_path / "made"
        made.mkdir()
        (made / "file").write_text(turn)
        environment.swap(made, tmp_path / "place")
        assert (tmp_path / "place" / "file").read_text() == turn
        assert [each.name for each in tmp_path.iterdir()] == ["place"]


def test_a_setup_that_fails_leaves_the_former_environment(
    environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "kept").touch()
    for name in ("requirements-dev.lock", "pyproject.toml"):
        (tmp_path / name).touch()

    def no_index(*arguments: str) -> None:
        if "sync" in arguments:
            raise environment.NotMade("no index")

    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "fetch_installer", lambda: None)
    monkeypatch.setattr(environment, "uv", no_index)
    with pytest.raises(environment.NotMade, match="no index"):
        environment.setup()
    assert (tmp_path / ".venv" / "kept").exists()


def test_a_link_is_switched_to_whole_releases_only(
    environment: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1", "2", "half"):
        (tmp_path / "releases" / name).mkdir(parents=True)
        if name != "half":
            (tmp_path / "releases" / name / environment.DONE).touch()
    for name in ("1", "2", "1"):
        environment.switch(tmp_path, name)
        assert (tmp_path / "current").resolve().name == name
    with pytest.raises(environment.NotMade, match=r"half is no release; there are: 1, 2"):
        environment.switch(tmp_path, "half")
    assert environment.main(["switch", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "switch: RELEASE=NAME is missing; there are: 1, 2\n"
    assert (tmp_path / "current").resolve().name == "1"


def test_a_python_in_a_folder_of_one_account_is_not_for_the_service(environment: ModuleType, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    (own / "python3").touch(mode=0o755)
    assert not environment.is_public(own / "python3")
    assert environment.is_public(Path("/bin/sh").resolve())


def test_a_release_with_an_extra_is_the_same_release_and_more(environment: ModuleType) -> None:
    def pinned(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / name).read_text(encoding="utf-8"), re.M))

    plain, developers = pinned(environment.LOCKS[""]), pinned("requirements-dev.lock")
    for extra in filter(None, environment.LOCKS):
        more = pinned(environment.LOCKS[extra])
        assert plain.items() < more.items() < developers.items(), extra
    assert environment.main(["install", "nowhere", "telemetry"]) == 1
