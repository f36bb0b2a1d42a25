"""``assay verify``: prove that a release is whole."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.printing import print_json
from assay.studies.release import verify_release


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def verify(folder: Path, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command line
    """Check every file of a release against its manifest; exit status 5 where one is missing, changed or foreign."""
    manifest = verify_release(folder)
    if as_json:
        print_json({"whole": True, "files": len(manifest.files), "artifacts": [a.trial.id for a in manifest.artifacts]})
    else:
        click.echo(f"{folder} is whole: {len(manifest.files)} files, {len(manifest.artifacts)} artifacts")
