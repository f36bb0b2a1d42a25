"""Where tuning keeps what it measured, and what it found there is the fastest."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from assay.backends.tvm.errors import mapped_errors
from assay.backends.tvm.intrinsics import list_widths, register_dot
from assay.backends.tvm.machine import Machine
from assay.backends.tvm.vendor import load_compiler
from assay.core.errors import BuildFailed

DATABASE_VARIABLE = "ASSAY_TVM_DATABASE"
"""Environment variable with the folder of the database; ``~/.cache/assay/tvm`` where it is not set."""
WORKLOADS, RECORDS = "workloads.json", "records.json"
MOST_RECORDS = 256
Module = Any
"""A module of TVM's, which has no types."""


class Database:
    """What was measured on one kind of machine: functions, their schedules and times; written at once.

    Args:
        folder: None for one that holds nothing and keeps nothing.
        machine: what its schedules call must be known before they can be read.

    Raises:
        BuildFailed: its files cannot be read.
    """

    def __init__(self, folder: Path | None, machine: Machine) -> None:
        self.folder = folder
        self._store: Any = None
        if folder is None:
            return
        with mapped_errors(BuildFailed, f"TVM cannot read the database {folder}", "delete its files and tune again"):
            folder.mkdir(parents=True, exist_ok=True)
            for lanes in list_widths(machine):
                register_dot(machine, lanes)
            meta = load_compiler("s_tir.meta_schedule")
            self._store = meta.database.JSONDatabase(
                path_workload=str(folder / WORKLOADS), path_tuning_record=str(folder / RECORDS)
            )

    def choose(self, module: Module, machine: Machine) -> Module | None:
        """The fastest schedule that was measured for a function's module; None where none was."""
        if not self.list_traces(module):
            return None
        return self._store.query_ir_module(module, machine.make_target(), "main")

    def list_traces(self, module: Module) -> frozenset[str]:
        """Schedules of a function's module that were measured, in TVM's words."""
        if self._store is None or not self._store.has_workload(module):
            return frozenset()
        records = self._store.get_top_k(self._store.commit_workload(module), MOST_RECORDS)
        return frozenset(str(record.trace) for record in records)

    def add(self, module: Module, trace: Any, target: Any, seconds: float) -> None:  # noqa: ANN401 - TVM has no types
        """Keep what a schedule of a function's module took."""
        if self._store is None:
            return
        meta = load_compiler("s_tir.meta_schedule")
        arguments = meta.arg_info.ArgInfo.from_prim_func(module["main"])
        workload = self._store.commit_workload(module)
        record = meta.database.TuningRecord(trace, workload, [seconds], target, arguments)
        self._store.commit_tuning_record(record)


def find_database(machine: Machine) -> Path:
    """Folder of the database of a kind of machine."""
    named = os.environ.get(DATABASE_VARIABLE)
    root = Path(named) if named else Path.home() / ".cache" / "assay" / "tvm"
    text = "|".join((machine.triple, machine.cpu, *machine.features))
    return root / f"{machine.architecture}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def open_database(folder: Path, machine: Machine) -> Database:
    """The database of a kind of machine in a folder; an empty one where nothing was ever tuned."""
    return Database(folder if (folder / RECORDS).is_file() else None, machine)
