"""The running service of tests/service, for what only shows when it works."""

from tests.service.conftest import portal

__all__ = ["portal"]
