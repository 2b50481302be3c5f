"""Why a simulation does not begin, or does not go on."""


class SimulateRefused(Exception):
    """One sentence: what is wrong, where, and what to do. Holds no secret, number or text."""
