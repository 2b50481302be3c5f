"""Time limits of tests: strict where a test has the machine to itself, no more than a hint where it has not."""

import os

BUSY_LOAD = 3.0
"""More than one test at a time on two cores: a clock on the wall then measures the others."""


def is_prompt(took: float, seconds: float) -> bool:
    """Whether what took `took` seconds kept the `seconds` it has; always, on a machine busy with other things."""
    return took <= seconds or os.getloadavg()[0] > BUSY_LOAD
