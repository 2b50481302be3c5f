"""What each section of a runbook has to say; the pages of alerts are held to it."""

import re

SEE = re.compile(r"^\*\*To see it:\*\* \S", re.MULTILINE)
DO = re.compile(r"^1\. \S|\]\(#portal1400", re.MULTILINE)
"""Steps in their order, or the alert whose steps hold."""
DO_NOT = re.compile(r"^\*\*Do not\*\* \S", re.MULTILINE)


def section(page: str, alert: str) -> str:
    """What stands under an alert's heading, of whatever level; nothing where there is none."""
    found = re.search(rf"^#+ {alert}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def lacking(text: str, *, with_steps: bool) -> list[str]:
    """What a section does not say. `with_steps`: what to do is numbered, and not told in sentences."""
    meaning, _, _ = text.partition("\n\n")
    wanted = {
        "what it means": len(meaning.split()) > 5 and not meaning.startswith(("**", "1.")),
        "how to see it (**To see it:**)": bool(SEE.search(text)),
        "what to do (1. ...)": not with_steps or bool(DO.search(text)),
        "what not to do (**Do not**)": bool(DO_NOT.search(text)),
    }
    return [what for what, is_said in wanted.items() if not is_said]
