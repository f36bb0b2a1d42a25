"""Lines that a library prints of its own are dropped, whoever keeps them back, and nothing else is lost."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import ctypes, os
from assay.studies.standard_output import drop_lines
print("before")
with drop_lines(b"Solver::"):
    ctypes.CDLL(None).puts(b"Solver::step run();")
    print("from Python")
    ctypes.CDLL(None).puts(b"from another library")
    ctypes.CDLL(None).puts(b"Solver::step run();")
print("after")
"""
CLOSED = """
import os, sys
from assay.studies.standard_output import drop_lines
os.close(1)
sys.stdout = None
with drop_lines(b"Solver::"):
    sys.stderr.write("went on")
"""


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
"""With it, nothing waits in a buffer, of Python or of the C library, and there is nothing to see."""


def test_only_the_named_lines_are_dropped() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=BUFFERED, check=True)
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert sorted(lines[1:-1]) == ["from Python", "from another library"]


def test_a_process_without_standard_output_goes_on() -> None:
    done = subprocess.run([sys.executable, "-c", CLOSED], capture_output=True, text=True, env=BUFFERED, check=True)
    assert done.stderr == "went on"


def test_an_error_within_puts_standard_output_back() -> None:
    script = SCRIPT.replace('    print("from Python")\n', "    raise SystemExit(print('raised') or 3)\n")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=BUFFERED, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (3, ["before", "raised"])
