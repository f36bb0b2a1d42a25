"""What users type and import stays as it is, until someone means to change it (``ASSAY_UPDATE_GOLDEN=1``)."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import assay
from assay.cli.calibration import SUBCOMMANDS
from assay.cli.program import COMMANDS, program

EVERY = [*COMMANDS, *(f"calibration {name}" for name in SUBCOMMANDS)]
KEPT = Path(__file__).parent / "interface"


def hold(name: str, text: str) -> None:
    """Compare with what is kept, or keep it anew."""
    path = KEPT / name
    if os.environ.get("ASSAY_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path} differs: set ASSAY_UPDATE_GOLDEN=1 if it is meant"


@pytest.mark.parametrize("command", ["", *EVERY])
def test_help_is_as_kept(command: str) -> None:
    arguments = [*command.split(), "--help"]
    result = CliRunner().invoke(program, arguments, prog_name="assay", terminal_width=100)
    assert result.exit_code == 0
    hold(f"{command.replace(' ', '-') or 'assay'}.txt", result.output)


@pytest.mark.parametrize("command", EVERY)
def test_every_command_has_json(command: str) -> None:
    found: click.Command | None = program
    for name in command.split():
        assert isinstance(found, click.Group)
        found = found.get_command(None, name)  # type: ignore[arg-type] # the context is not used
    assert found is not None
    leaf = not isinstance(found, click.Group)
    assert any("--json" in parameter.opts for parameter in found.params) is leaf, command


def test_the_public_interface_is_as_kept() -> None:
    lines = [f"{name}{inspect.signature(getattr(assay, name))}" for name in sorted(assay.__all__)]
    lines += [f"Study.{name}" for name in sorted(vars(assay.Study)) if not name.startswith("_")]
    hold("python.txt", "\n".join(lines) + "\n")
