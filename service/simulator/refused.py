"""Why a simulation does not begin, or does not go on."""

from service.runtime.refusals import Refused


class SimulateRefused(Refused):
    """One sentence: what is wrong, where, and what to do. Holds no secret, number or text."""
