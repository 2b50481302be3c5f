"""How the values that pass along the hot path are declared."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

Shape = TypeVar("Shape")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(*, kw_only: bool = False) -> Callable[[type[Shape]], type[Shape]]:
    """A dataclass with slots that nothing may assign to: the type checker keeps it so, not the interpreter.

    Freezing at run time goes through `object.__setattr__` for each field: with a callback, its message, its
    result and its answer that was 4 microseconds of a callback's 200.
    """
    return dataclass(slots=True, kw_only=kw_only)
