"""``assay doctor``: what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from assay.cli.printing import print_json
from assay.studies.diagnosis import Diagnosis, diagnose


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:  # noqa: FBT001 - a flag of the command line
    """Tell which runtimes, number formats and matrix units this machine has."""
    diagnosis = diagnose()
    if as_json:
        print_json(diagnosis)
    else:
        print_diagnosis(diagnosis, Console())


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Tables for a person."""
    machine = Table(title="Machine", title_justify="left", show_header=False)
    for fact, value in diagnosis.machine.items():
        machine.add_row(fact, value)
    console.print(machine)
    units = Table("matrix unit", "here", "good for", title="Matrix units", title_justify="left")
    for unit in diagnosis.units:
        units.add_row(unit.name, "yes" if unit.present else "no", unit.use)
    console.print(units)
    runtimes = Table(
        "runtime", "version", "formats", "missing", "how to get it", title="Runtimes", title_justify="left"
    )
    for runtime in diagnosis.runtimes:
        formats = ", ".join(f.precision if f.supported else f"[dim]no {f.precision}[/]" for f in runtime.formats)
        runtimes.add_row(runtime.name, runtime.version or "-", formats, runtime.missing or "-", runtime.remedy or "-")
    console.print(runtimes)
    for runtime in diagnosis.runtimes:
        for form in runtime.formats:
            if not form.supported:
                console.print(f"{runtime.name} {form.precision}: {form.reason}", highlight=False, markup=False)
    for extra in diagnosis.extras:
        state = extra.version or f"missing: {extra.remedy}"
        console.print(f"extra {extra.name} ({extra.use}): {state}", highlight=False, markup=False)
