"""No core of a process that holds keys, by neither way of the kernel."""

import subprocess
import sys

import pytest

ASK = """
import ctypes, resource, service.cli
def main():
    print(ctypes.CDLL(None).prctl(3), *resource.getrlimit(resource.RLIMIT_CORE))
service.cli.main = main
{call}()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel by prctl")
@pytest.mark.parametrize(("call", "told"), [("service.cli.entry", "0 0 0"), ("main", None)])
def test_a_command_leaves_no_core(call: str, told: str | None) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(call=call)], check=True, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.strip() == "0 0 0") is (told is not None)
