"""Tunes models for this processor: ``python -m assay.backends.tvm MODEL.onnx... --seconds 600``."""

from __future__ import annotations

from pathlib import Path

import click

from assay.backends.tvm.tuning import Budget, tune_model
from assay.core.errors import AssayError
from assay.core.target import Target


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--seconds", default=600.0, show_default=True, help="Wall time after which nothing more is measured.")
@click.option("--threads", default=1, show_default=True, help="Threads that the models will run on.")
@click.option("--batch", default=1, show_default=True, help="Items of a call.")
def tune(models: tuple[Path, ...], seconds: float, threads: int, batch: int) -> None:
    """Measure schedules for the products of MODELS and keep the times, from which later builds choose."""
    target = Target("tvm", threads=threads, batch=batch)
    try:
        folder = tune_model(models, target, Budget(seconds), lambda progress: click.echo(progress.text, err=True))
    except AssayError as err:
        click.echo(f"error: {err}", err=True)
        raise SystemExit(err.exit_code) from err
    click.echo(f"kept in {folder}")


if __name__ == "__main__":
    tune()
