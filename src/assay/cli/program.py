"""The ``assay`` program: its commands by name, loaded only when called, and what happens to errors."""

from __future__ import annotations

import sys
from importlib import metadata

import click
import msgspec
from rich.console import Console

from assay.cli.lazy import LazyGroup
from assay.core.errors import AssayError

COMMANDS = {
    "calibration": "assay.cli.calibration:calibration",
    "compare": "assay.cli.compare:compare",
    "doctor": "assay.cli.doctor:doctor",
    "explain": "assay.cli.explain:explain",
    "init": "assay.cli.init:init",
    "load": "assay.cli.load:load",
    "plan": "assay.cli.plan:plan",
    "release": "assay.cli.release:release",
    "report": "assay.cli.report:report",
    "run": "assay.cli.run:run",
    "show": "assay.cli.show:show",
    "study": "assay.cli.study:study",
    "verify": "assay.cli.verify:verify",
}
INTERRUPTED = 130


@click.command(
    cls=LazyGroup,
    paths=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(metadata.version("assay-precision"), prog_name="assay")
def program() -> None:
    """Find the cheapest number format that is provably good enough for a model on this machine."""


def main() -> None:
    """Run the program; every error that Assay raises ends in one message and its own exit status."""
    asked_json = "--json" in sys.argv
    try:
        status = program.main(prog_name="assay", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        command = "assay" if context is None else context.command_path
        fail(error.format_message(), f"see `{command} --help`", error.exit_code, asked_json)
    except AssayError as error:
        fail(error.message, error.hint, error.exit_code, asked_json)
    except (KeyboardInterrupt, click.Abort):
        fail("interrupted", "what was finished is kept: run the same command again to resume", INTERRUPTED, asked_json)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


def fail(message: str, hint: str, status: int, as_json: bool) -> None:  # noqa: FBT001 - two forms of one message
    """Print an error, for a person or for a program, and leave."""
    if as_json:
        sys.stdout.write(
            msgspec.json.encode({"error": {"message": message, "hint": hint, "exit": status}}).decode() + "\n"
        )
    console = Console(stderr=True, highlight=False)
    console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    if hint:
        console.print(f"[bold]hint:[/] {escape(hint)}", soft_wrap=True)
    sys.exit(status)


def escape(text: str) -> str:
    """Text in which square brackets are no markup."""
    return text.replace("[", r"\[")
