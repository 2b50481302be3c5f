"""The image: what its file promises. `python -m tests.image` runs one and posts a gift through it."""

import re
import subprocess
from pathlib import Path

import orjson
import pytest

from service.runtime.settings import PREFIX, Settings
from tests.support.judges import ROOT, judged

FILE = ROOT / "deploy" / "container" / "Dockerfile"
TEXT = FILE.read_text(encoding="utf-8")
RELEASED = {
    ".py",
    ".sql",
    ".toml",
    ".html",
    ".css",
    ".js",
    ".json",
    ".svg",
    ".png",
    ".ttf",
    ".ico",
    ".txt",
    ".xml",
    ".typed",
}
"""What kinds of files the packages are made of."""
LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def stages() -> list[str]:
    """The file, stage by stage."""
    return re.split(r"^FROM ", TEXT, flags=re.MULTILINE)[1:]


def test_the_image_is_of_two_stages_and_the_last_has_no_tools_of_the_first() -> None:
    build, image = stages()
    assert "make_release" not in image
    assert "python3-venv" in build
    assert "venv" not in image
    assert re.findall(r"^COPY (.*)$", image, re.MULTILINE) == ["--from=build /opt/portal1400 /opt/portal1400"]


def test_it_runs_as_an_account_without_rights() -> None:
    assert re.findall(r"^USER (.*)$", stages()[-1], re.MULTILINE) == ["1400:1400"]
    assert stages()[-1].index("USER") > stages()[-1].rindex("RUN ")


def test_it_sets_only_settings_that_exist_and_no_secret() -> None:
    names = set(re.findall(rf"{PREFIX}([A-Z_]+)=", TEXT))
    assert names <= {name.upper() for name in Settings.model_fields}
    assert not re.search(r"^(ARG|ENV).*(SECRET|PASSWORD|TOKEN|KEY|DATABASE_URL)", TEXT, re.MULTILINE)


def test_nothing_comes_into_the_build_but_what_a_release_is_made_of() -> None:
    first, *others = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()[1:]
    assert first == "*"
    let_in = [each[1:] for each in others if each.startswith("!")]
    assert all((ROOT / each).exists() for each in let_in)
    asked = ["git", "-C", str(ROOT), "ls-files", "--", *let_in]
    kept = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    assert {Path(each).suffix for each in kept if "/" in each} <= RELEASED


@pytest.mark.judge
def test_hadolint_has_nothing_to_say() -> None:
    assert judged("hadolint", "--no-color", FILE) == ""


@pytest.mark.judge
def test_the_bill_of_materials_names_every_package_of_a_release() -> None:
    arguments = ("requirements", "--pyproject", "pyproject.toml", "--output-reproducible", "requirements.lock")
    bill = orjson.loads(judged("cyclonedx-py", *arguments))
    named = {(each["name"], each["version"]) for each in bill["components"]}
    assert named == set(LOCKED.findall((ROOT / "requirements.lock").read_text(encoding="utf-8")))
    assert bill["metadata"]["component"]["name"] == "portal1400"
