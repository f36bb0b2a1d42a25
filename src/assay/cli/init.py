"""``assay init``: a commented study file."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.printing import print_json
from assay.core.errors import RequestError
from assay.studies.files import write_bytes
from assay.studies.template import STUDY_TEMPLATE


@click.command()
@click.argument("path", metavar="FILE", default="study.toml", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the path as JSON.")
def init(path: Path, force: bool, as_json: bool) -> None:  # noqa: FBT001 - flags of the command line
    """Write a commented study file (study.toml) to fill in."""
    if path.suffix != ".toml":
        raise RequestError(f"{path} does not end in .toml, by which `assay study` knows a study file", "rename it")
    if path.exists() and not force:
        raise RequestError(f"{path} exists", "choose another name, or replace it with --force")
    write_bytes(path, STUDY_TEMPLATE.encode())
    if as_json:
        print_json({"written": str(path)})
    else:
        click.echo(f"wrote {path}: fill it in, then run `assay study {path}`")
