"""The instruments of one worker, with a child for each protocol, outcome and public surface that there is."""

from importlib.metadata import version

from prometheus_client import CollectorRegistry

from gateways.outcome import Outcome
from gateways.registry import ADAPTERS
from metrics.instruments import Instruments
from service.listeners.shedding import SURFACES
from service.listeners.turned_away import Kind
from service.runtime import logs


def make_instruments() -> Instruments:
    """In a registry of their own: two workers in one process do not meet."""
    made = Instruments(
        CollectorRegistry(),
        version=version("portal1400"),
        adapters=tuple(ADAPTERS),
        outcomes=[outcome.value for outcome in Outcome],
        log_lines_lost=logs.lines_lost,
        log_lines_waiting=logs.lines_waiting,
    )
    made.listeners.know_turned_away(kind.value for kind in Kind)
    made.listeners.know_surfaces(surface.name for surface in SURFACES)
    return made
