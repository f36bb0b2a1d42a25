"""What a command does not need is not imported: help and short answers come at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("matplotlib", "onnx", "onnxruntime", "openvino", "scipy")
CODE = """
import sys
from assay.cli.program import main
try:
    main()
except SystemExit as left:
    assert left.code == 0
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("command", "spared"),
    [("--help", HEAVY), ("calibration --help", HEAVY), ("init --help", HEAVY), ("show --help", HEAVY[:1])],
)
def test_what_a_command_does_not_need_is_not_imported(command: str, spared: tuple[str, ...]) -> None:
    started = [sys.executable, "-c", CODE, *command.split()]
    done = subprocess.run(started, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: ")
    assert not set(spared) & set(done.stderr.split())
