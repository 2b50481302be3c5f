"""`python -m service` is the command `portal1400`."""

from service.cli import entry

entry()
