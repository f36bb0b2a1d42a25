"""Fetches an example's files and studies it, each in a process of its own, whose last line is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress, TaskID

from workload_table.catalogue import FETCH, Example, list_missing, states_price

ROOT = Path(__file__).resolve().parents[2]
PRICES = ROOT / "bench" / "workload_prices.toml"
DECIDED = (0, 10, 11)
"""Exit statuses of a study that ended in a decision."""
POLL_S = 0.5
SHOWN = 90
"""Letters of a process's last line."""
TAIL_BYTES = 4096
FAR = 3
"""Folders above a file in which its script may lie."""


class ExampleFailed(Exception):
    """An example that could not be studied; its message is the row's reason."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where an example's study and its log go.

    Attributes:
        work: the folder of all of them.
    """

    work: Path

    def study(self, example: Example) -> Path:
        """The study's folder."""
        return self.work / example.key / "STUDY"

    def log(self, example: Example) -> Path:
        """What fetching and studying printed."""
        return self.work / example.key / "log.txt"


def fetch_files(example: Example, places: Places, progress: Progress, task: TaskID, *, allowed: bool) -> None:
    """Run the ``fetch.py`` of each file that the study names and that is not there, or where nothing was fetched yet.

    Raises:
        ExampleFailed: it failed, there is none, or the example does not state itself.
    """
    if example.problem:
        raise ExampleFailed(example.problem)
    missing = list_missing(example.study)
    scripts = {find_script(path) for path in missing}
    if example.fetch is not None and not (example.folder / "files").is_dir():
        scripts.add(example.fetch)
    if missing and not allowed:
        raise ExampleFailed(f"{missing[0].name} is not there, and nothing may be fetched")
    for script in sorted(path for path in scripts if path is not None and allowed):
        status, _ = run_logged([sys.executable, script.name], script.parent, places.log(example), progress, task)
        if status:
            reason = read_last_line(places.log(example)) or f"exit status {status}"
            raise ExampleFailed(f"{script.parent.name}/{script.name} failed: {reason}")
    if still := list_missing(example.study):
        what = "fetch.py ended well" if find_script(still[0]) else "no fetch.py is beside it"
        raise ExampleFailed(f"{still[0].name} is not there; {what}")


def find_script(path: Path) -> Path | None:
    """The ``fetch.py`` of the example that a file belongs to, which may be another one than the study's."""
    scripts = (folder / FETCH for folder in path.resolve().parents[:FAR])
    return next((script for script in scripts if script.is_file()), None)


def study_example(example: Example, places: Places, progress: Progress, task: TaskID, extra: Sequence[str]) -> None:
    """Run ``assay study`` on the example, or what is left of it.

    Raises:
        ExampleFailed: it ended without a decision, with its own message.
    """
    command = [sys.executable, "-m", "assay", "study", str(example.study), "--json"]
    command += ["--output", str(places.study(example)), *extra]
    if not states_price(example.study):
        command += ["--prices", str(PRICES)]
    status, out = run_logged(command, ROOT, places.log(example), progress, task, python_path=example.folder)
    if status not in DECIDED:
        raise ExampleFailed(explain(out) or read_last_line(places.log(example)) or f"exit status {status}")


def explain(out: str) -> str:
    """The error in a command's JSON; empty where there is none."""
    try:
        error = json.loads(out)["error"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f"{error['message']} ({error['hint']})" if error["hint"] else str(error["message"])


def run_logged(
    command: Sequence[str],
    folder: Path,
    log: Path,
    progress: Progress,
    task: TaskID,
    python_path: Path | None = None,
) -> tuple[int, str]:
    """Run a command with its errors in a log, whose last line is the task's description; its status and output.

    An interrupt is the command's too: it is waited for, so that what it finished is kept.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ if python_path is None else {**os.environ, "PYTHONPATH": str(python_path)}
    out = log.with_name("out.txt")
    with log.open("ab") as errors, out.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=errors, env=environment)
        try:
            while process.poll() is None:
                progress.update(task, detail=read_last_line(log)[:SHOWN])
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            process.wait()
            raise
    return process.returncode, out.read_text(encoding="utf-8", errors="replace")


def read_last_line(log: Path) -> str:
    """The last line of a log that says something."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
