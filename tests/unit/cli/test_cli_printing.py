from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import ctypes
from assay.cli.printing import print_json, stdout_kept
with stdout_kept():
    ctypes.CDLL(None).puts(b"a solver's own words")
    ctypes.CDLL(None).fflush(None)
print_json({"answer": 1})
"""

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
"""With it, nothing waits in a buffer, of Python or of the C library, and there is nothing to see."""
BUFFERED = SCRIPT.replace("    ctypes.CDLL(None).fflush(None)\n", "")
"""The C library keeps what it prints into a pipe until the process ends, after the document."""


def test_what_the_c_library_keeps_back_does_not_follow_the_document() -> None:
    done = subprocess.run([sys.executable, "-c", BUFFERED], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert done.stdout == '{\n  "answer": 1\n}\n'
    assert "a solver's own words" in done.stderr


def test_what_libraries_print_does_not_mix_with_the_document() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert done.stdout == '{\n  "answer": 1\n}\n'
    assert "a solver's own words" in done.stderr


def test_what_was_printed_before_stays_on_standard_output() -> None:
    script = SCRIPT.replace("with stdout_kept", "print('before')\nwith stdout_kept")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert done.stdout == 'before\n{\n  "answer": 1\n}\n'
    assert "before" not in done.stderr
