"""The tools that judge the files of `deploy/`, in an environment of their own."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-deploy" / "bin"


def judged(tool: str, *arguments: str | Path, given: str | None = None) -> str:
    """What a tool says, if it is content."""
    done = subprocess.run(
        [str(TOOLS / tool), *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
