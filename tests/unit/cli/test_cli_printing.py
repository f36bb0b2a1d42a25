from __future__ import annotations

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

BUFFERED = SCRIPT.replace("    ctypes.CDLL(None).fflush(None)\n", "")
"""The C library keeps what it prints into a pipe until the process ends, after the document."""


def test_what_the_c_library_keeps_back_does_not_follow_the_document() -> None:
    done = subprocess.run([sys.executable, "-c", BUFFERED], capture_output=True, text=True, check=True)
    assert done.stdout == '{\n  "answer": 1\n}\n'
    assert "a solver's own words" in done.stderr


def test_what_libraries_print_does_not_mix_with_the_document() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == '{\n  "answer": 1\n}\n'
    assert "a solver's own words" in done.stderr
