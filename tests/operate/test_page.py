"""The blocks of docs/operate.md are commands that exist; `make operate` runs them on an empty machine."""

import re
import subprocess

from service.cli import COMMANDS
from tests.operate.__main__ import PAGE, blocks_of

BLOCKS = blocks_of(PAGE.read_text(encoding="utf-8"))
USED = re.compile(r"(?:^|\| |\$\()portal1400 ([a-z][a-z-]+)", re.MULTILINE)


def test_every_block_is_a_shell_s_and_every_command_is_ours() -> None:
    assert len(BLOCKS) > 12
    everything = "\n".join(block.commands for block in BLOCKS)
    ended = subprocess.run(["bash", "-n"], input=everything, text=True, capture_output=True, check=False)
    assert ended.stderr == ""
    used = set(USED.findall(everything))
    assert used <= COMMANDS.keys()
    assert used >= {"apply", "check", "preflight", "secret-key", "backup", "restore", "erase", "support"}
