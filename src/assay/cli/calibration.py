"""``assay calibration``: stored calibration sets; one file per subcommand."""

from __future__ import annotations

import click

from assay.cli.lazy import LazyGroup

SUBCOMMANDS = {
    "merge": "assay.cli.calibration_merge:merge",
    "check": "assay.cli.calibration_check:check",
    "diff": "assay.cli.calibration_diff:diff",
    "create": "assay.cli.calibration_create:create",
    "show": "assay.cli.calibration_show:show",
}


@click.command(cls=LazyGroup, paths=SUBCOMMANDS)
def calibration() -> None:
    """Make, show, judge, compare and merge stored calibration sets."""
