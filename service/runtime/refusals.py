"""Refusals: what cannot be done, in sentences for people. The command line catches the one base and prints them."""

from collections.abc import Sequence


class Refused(Exception):
    """Something cannot be done as asked. Each sentence says what, where and what to do, and quotes no secret."""

    def __init__(self, sentences: str | Sequence[str]) -> None:
        """One sentence, or one for each problem."""
        self.problems = [sentences] if isinstance(sentences, str) else list(sentences)
        super().__init__("\n".join(self.problems))
