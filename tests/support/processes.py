"""The service as processes of its own: how they are called, and the environment they live in."""

import os
import sys
from pathlib import Path

from tests.support.portal import SECRET_KEY

ROOT = Path(__file__).parents[2]
SERVICE = (sys.executable, "-m", "service")
"""What `portal1400` is on a command line of the tests."""


def environ_for(data_dir: Path, port: int, internal_port: int, **settings: str) -> dict[str, str]:
    """Our environment, of its settings only those a test chooses: no developer's own may reach a process here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PORTAL1400_")}
    chosen = {
        "secret_key": SECRET_KEY,
        "data_dir": str(data_dir),
        "listen": f"127.0.0.1:{port}",
        "internal_listen": f"127.0.0.1:{internal_port}",
        "log_format": "json",
    }
    return kept | {f"PORTAL1400_{name.upper()}": value for name, value in (chosen | settings).items()}
