"""The process: HTTP, wiring, settings, logs, command line, pages. It alone knows the other three packages."""

import sys
from contextlib import suppress

# structlog draws tracebacks with rich where there is rich: that would be a fifth of what the start of each worker
# costs, and ours are drawn by nobody (service/runtime/logs.py). Whoever wants rich may import it afterwards.
sys.modules["rich"] = None  # type: ignore[assignment]  # None is how the import system is told "there is none"
# The keeper of the embedded server runs without packages.
with suppress(ImportError):
    import structlog  # noqa: F401 - while there is no rich

del sys.modules["rich"]
