"""``assay release``: a study's decision as a deployable folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from assay.cli.printing import print_json
from assay.report.card import render_card
from assay.studies.release import make_release


@click.command()
@click.argument("folder", metavar="STUDY", type=click.Path(path_type=Path))
@click.argument("into", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--trial", help="Release this trial in place of the chosen one.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def release(folder: Path, into: Path, trial: str | None, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Write the chosen artifact, its fallbacks, a manifest and a model card into DIR."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = make_release(folder, into, created, render_card, trial)
    chain = [released.trial.id for released in manifest.artifacts]
    if as_json:
        print_json({"release": str(into), "artifacts": chain, "files": len(manifest.files)})
    else:
        click.echo(f"released {' > '.join(chain)} into {into}")
