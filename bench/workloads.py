"""Every workload in one table: studies each ``examples/*/study*.toml`` and writes ``docs/workloads.md``.

Run: ``python bench/workloads.py`` (or ``make workloads``), or with names of examples. One example after the other:
its ``fetch.py`` runs where files are missing, then ``assay study``. What is finished is kept in the work folder and
not run again, but with ``--again``, from nothing, or where the study file, the statement or a version has changed; an
interrupt loses nothing. An example that fails has the reason in its row, and the next one begins. Writes the page and
``bench/results/workloads.json``; the exit status is 1 where an example failed.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from importlib import metadata
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from workload_table.catalogue import Example, list_examples
from workload_table.page import write_page
from workload_table.rows import Row, begin_row, read_row
from workload_table.running import ROOT, ExampleFailed, Places, fetch_files, study_example

WORK = ROOT / "bench" / "scratch" / "workloads"
PAGE = ROOT / "docs" / "workloads.md"
RESULTS = ROOT / "bench" / "results" / "workloads.json"
VERSIONED = ("assay-precision", "onnxruntime", "openvino", "numpy")
FAILED = "failed"
INTERRUPTED = 130


def find_versions() -> str:
    """What a row is only good for."""
    return " ".join(f"{name} {metadata.version(name)}" for name in VERSIONED)


def identify(example: Example, study_options: list[str]) -> str:
    """What a kept row must have been made from, to be taken again."""
    return hashlib.sha256(f"{example.content} {find_versions()} {study_options}".encode()).hexdigest()


class Kept:
    """Rows in the work folder, one file each."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def read(self, example: Example) -> Row | None:
        """The row of an earlier run, whatever it was made from."""
        path = self._path(example)
        return msgspec.json.decode(path.read_bytes(), type=Row) if path.exists() else None

    def write(self, example: Example, row: Row) -> None:
        """Keep a row."""
        path = self._path(example)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(row), indent=1))
        part.replace(path)

    def _path(self, example: Example) -> Path:
        return self._places.work / example.key / "row.json"


def run_example(example: Example, places: Places, progress: Progress, options: argparse.Namespace) -> Row:
    """Fetch and study one example."""
    task = progress.add_task(example.key, total=None, detail="")
    extra = [part for flag in options.study_option for part in flag.split("=", 1)]
    if options.again:
        shutil.rmtree(places.study(example), ignore_errors=True)
    try:
        fetch_files(example, places, progress, task, allowed=not options.no_fetch)
        study_example(example, places, progress, task, extra)
        row = read_row(example, places.study(example))
    except ExampleFailed as failure:
        row = begin_row(example, FAILED, str(failure))
    finally:
        progress.remove_task(task)
    return msgspec.structs.replace(row, content=identify(example, options.study_option))


def is_current(example: Example, row: Row | None, study_options: list[str]) -> bool:
    """Whether a kept row needs no new run."""
    if row is None or example.problem or row.status == FAILED:
        return False
    return row.content == identify(example, study_options)


def run_all(examples: list[Example], kept: Kept, places: Places, options: argparse.Namespace) -> list[str]:
    """Run what was not run yet; the keys of examples that failed."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn())
    console = Console(stderr=True)
    failed = []
    with Progress(*columns, TimeElapsedColumn(), TextColumn("{task.fields[detail]}"), console=console) as progress:
        whole = progress.add_task("workloads", total=len(examples), detail="")
        for example in examples:
            if options.again or not is_current(example, kept.read(example), options.study_option):
                row = run_example(example, places, progress, options)
                kept.write(example, row)
                progress.console.print(f"{example.key}: {row.reason or row.sentence}", highlight=False, markup=False)
                failed += [example.key] if row.status == FAILED else []
            else:
                progress.console.print(f"{example.key}: studied before", highlight=False, markup=False)
            progress.advance(whole)
    return failed


def write_results(examples: list[Example], kept: Kept, options: argparse.Namespace) -> None:
    """The page and the JSON of all rows there are; an example that never ran has a row without numbers."""
    rows = [kept.read(example) or begin_row(example, "not run") for example in examples]
    # What an example states may have been mended since it ran.
    options.page.write_text(write_page(rows), encoding="utf-8")
    line = {"bench": "workloads", "rows": rows}
    options.results.write_bytes(msgspec.json.format(msgspec.json.encode(line), indent=1) + b"\n")


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", nargs="*", help="names such as imagenet; all where none is given")
    parser.add_argument("--again", action="store_true", help="also what was studied before, from nothing")
    parser.add_argument("--no-fetch", action="store_true", help="fetch nothing: take the files that are there")
    parser.add_argument("--study-option", action="append", default=[], metavar="--FLAG=VALUE", help="of `assay study`")
    parser.add_argument("--root", type=Path, default=ROOT / "examples", help="the folder of the examples")
    parser.add_argument("--work", type=Path, default=WORK, help="where studies and rows are kept")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> int:
    """Run the workloads and write the table."""
    options = parse_options()
    places = Places(options.work.resolve())
    examples = list_examples(options.root)
    if unknown := sorted(set(options.examples) - {example.key for example in examples}):
        raise SystemExit(f"{unknown[0]} is no example; there are {', '.join(example.key for example in examples)}")
    kept = Kept(places)
    wanted = [example for example in examples if not options.examples or example.key in options.examples]
    try:
        failed = run_all(wanted, kept, places, options)
    except KeyboardInterrupt:
        write_results(examples, kept, options)
        print("interrupted: what was finished is kept; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    write_results(examples, kept, options)
    print(f"wrote {options.page} and {options.results}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
