"""The process: HTTP, wiring, settings, logs, command line, pages. It alone knows the other three packages."""

import sys

# structlog draws tracebacks with rich where there is rich: it would be a fifth of what each worker's start costs,
# and ours are drawn by nobody (service/runtime/logs.py). Whoever wants rich may still import it afterwards.
sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402, F401 - while there is no rich

del sys.modules["rich"]
