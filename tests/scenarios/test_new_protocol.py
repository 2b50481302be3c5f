"""A new protocol is one adapter, one sender, one row of the registry, one test and one row of the document, no more.

A throw-away protocol (new_protocol/) is put into a copy of the tree, at these places alone; there it must be spoken.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "new_protocol"
COPIED = ("service", "metrics", "campaigns", "gateways", "tests/gateways", "tests/support")
COPIED_FILES = ("pyproject.toml", "docs/carriers.md", "tests/conftest.py")

NEW_FILES = {
    "gateways/adapters/telex.py": "adapter.py",
    "gateways/senders/telex.py": "sender.py",
    "tests/gateways/adapters/test_telex.py": "cases.py",
}
NEW_LINES = {
    "gateways/registry.py": (
        ("from gateways.adapters.vn_soap_mo", "from gateways.adapters.telex import Telex\n"),
        ("from gateways.senders.vn_soap_mo", "from gateways.senders.telex import TelexSender\n"),
        ("    (VnSoapMo, VnSoapMoSender)", "    (Telex, TelexSender),\n"),
    ),
    "docs/carriers.md": (("| `vn_soap_mo` | SOAP hubs", "| `telex` | nobody's | POST | `id` | `text/plain` |\n"),),
}
TESTS = ("tests/gateways/adapters/test_telex.py", "tests/gateways/test_registry.py", "tests/gateways/senders")
LIMIT_SECONDS = 120


def copy_with_the_protocol(folder: Path) -> None:
    """The tree with the files and lines above, and nothing else."""
    for name in COPIED:
        # What was compiled comes along, times and all: three processes need not do it again.
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("vendor"))
    for name in COPIED_FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for place, name in NEW_FILES.items():
        assert not (folder / place).exists()
        shutil.copy(HERE / name, folder / place)
    for place, lines in NEW_LINES.items():
        text = (folder / place).read_text(encoding="utf-8")
        for before, line in lines:
            assert text.count(before) == 1, before
            text = text.replace(before, line + before)
        (folder / place).write_text(text, encoding="utf-8")


def test_a_new_protocol_is_spoken_once_its_five_places_have_it(tmp_path: Path) -> None:
    copy_with_the_protocol(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    # What hypothesis learns of Unicode and of these sources it keeps by their content: else that is most of its time.
    environment["HYPOTHESIS_STORAGE_DIRECTORY"] = str(ROOT / ".hypothesis")
    acts = {
        "the service": [sys.executable, str(HERE / "speaks.py")],
        "its tests": [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
        "import rules": [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
    }
    started = {
        what: subprocess.Popen(
            act, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for what, act in acts.items()
    }
    said = {what: process.communicate(timeout=LIMIT_SECONDS)[0] for what, process in started.items()}
    for what, process in started.items():
        assert process.returncode == 0, f"{what}:\n{said[what]}"
    assert said["the service"].split() == [str(tmp_path)]
    assert " passed" in said["its tests"]
    assert "0 broken" in said["import rules"]


def test_those_places_are_the_ones_that_contributors_are_told() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    told = text[text.index("## A new protocol") : text.index("## A new grammar")]
    places = [place.replace("telex", "<protocol>") for place in (*NEW_FILES, *NEW_LINES)]
    assert [place for place in places if f"`{place}`" not in told] == []
    assert told.count("\n1.") + sum(told.count(f"\n{number}.") for number in range(2, 10)) == len(places)
