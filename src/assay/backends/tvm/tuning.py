"""Measures the tiles that a model's products can be computed in, and keeps them in a database of MetaSchedule's.

The search space of a product is short: the tiles that divide it and fit the registers. So each is measured, the one
expected fastest first, a function that takes long before one that does not, until all were or the time is over. What
was measured is written at once; a later run, of this model or of another with the same functions, goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.backends.model_files import read_signature
from assay.backends.tvm.building import find_shapes, read_model
from assay.backends.tvm.compilation import import_model, list_functions, list_tiles, lower_module, wrap_function
from assay.backends.tvm.database import Database, find_database
from assay.backends.tvm.errors import mapped_errors
from assay.backends.tvm.machine import Machine, find_machine
from assay.backends.tvm.measuring import Meter, Stopwatch
from assay.backends.tvm.schedules import schedule_product
from assay.backends.tvm.tiles import Tile
from assay.backends.tvm.vendor import hash_module, load_compiler
from assay.core.errors import BuildFailed
from assay.core.target import Target

MOST_TILES = 10
"""Tiles of one function that are measured."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What tuning may take.

    Attributes:
        seconds: wall time after which no further tile is measured.
        tiles: most tiles of one function.
    """

    seconds: float
    tiles: int = MOST_TILES


@dataclass(frozen=True, slots=True)
class TuningProgress:
    """One more tile was measured.

    Attributes:
        function: name of the function.
        tile: name of the tile.
        milliseconds: that a call took; None where it could not be measured.
        best_ms: of the function so far; None where nothing could be measured yet.
        done: tiles that are measured.
        total: tiles that there are.
        elapsed_s: wall time since tuning began.
    """

    function: str
    tile: str
    milliseconds: float | None
    best_ms: float | None
    done: int
    total: int
    elapsed_s: float

    @property
    def text(self) -> str:
        """In one line."""
        took = "failed" if self.milliseconds is None else f"{self.milliseconds:.3f} ms"
        best = "" if self.best_ms is None else f", best {self.best_ms:.3f}"
        return f"{self.done}/{self.total} {self.elapsed_s:.0f} s {self.function} {self.tile}: {took}{best}"


@dataclass(frozen=True, slots=True)
class Task:
    """A function to tune.

    Attributes:
        name: of the function.
        module: of TVM's, with the function alone.
        tiles: that are not measured yet.
        measured: tiles that are.
        calls: of the function in the models.
    """

    name: str
    module: Any
    tiles: tuple[Tile, ...]
    measured: int
    calls: int


def tune_model(
    models: Sequence[Path], target: Target, budget: Budget, report: Callable[[TuningProgress], None] | None = None
) -> Path:
    """Tune the products of models for this machine.

    Args:
        models: ONNX files, such as a model in FP32 and in INT8.
        target: with the threads and the batch, or the shapes, that the models are built for.
        budget: what it may take.
        report: told of every measurement.

    Returns:
        The folder of the database, from which ``build`` takes the fastest schedules.

    Raises:
        BackendUnavailable: TVM is missing, or does not know this processor.
        BuildFailed: TVM refuses a model, or its inputs have open shapes that the target does not name.
    """
    began, machine = time.monotonic(), find_machine()
    folder = find_database(machine)
    database = Database(folder, machine)
    tasks = collect_tasks(models, target, machine, database, budget.tiles)
    with mapped_errors(BuildFailed, "TVM cannot tune"), Stopwatch(target.threads) as stopwatch:
        meter = Meter(machine, target.threads, database, stopwatch)
        _measure_all(tasks, meter, began, budget.seconds, report)
    return folder


def collect_tasks(
    models: Iterable[Path], target: Target, machine: Machine, database: Database, tiles: int
) -> list[Task]:
    """Functions of the models that can be tiled in more than one way, each once, the most called first."""
    found: dict[str, Task] = {}
    for path in models:
        shapes = find_shapes(read_signature(path), target)
        if shapes is None:
            raise BuildFailed(f"the inputs of {path} have open shapes", "name their shapes in the target")
        for name, function, calls in _list_functions(path, shapes, machine):
            choices = list_tiles(function, machine)[:tiles]
            if len(choices) < 2:  # noqa: PLR2004 - nothing to choose
                continue
            module = wrap_function(function)
            key = hash_module(module)
            if key in found:
                old = found[key]
                found[key] = Task(old.name, old.module, old.tiles, old.measured, old.calls + calls)
                continue
            left = list_unmeasured(module, choices, machine, database)
            found[key] = Task(name, module, left, len(choices) - len(left), calls)
    return sorted(found.values(), key=lambda task: -task.calls)


def list_unmeasured(
    module: Any,  # noqa: ANN401 - a module of TVM's has no type
    choices: Sequence[Tile],
    machine: Machine,
    database: Database,
) -> tuple[Tile, ...]:
    """Tiles of a function's module that the database holds no time of."""
    known = database.list_traces(module)
    if not known:
        return tuple(choices)
    traces = {tile: str(schedule_product(module["main"], machine, tile).trace) for tile in choices}
    return tuple(tile for tile in choices if traces[tile] not in known)


def _list_functions(path: Path, shapes: Mapping[str, tuple[int, ...]], machine: Machine) -> list[tuple[str, Any, int]]:
    """Name, code and number of calls of a lowered model's functions."""
    lowered, _ = lower_module(import_model(read_model(path), shapes), machine)
    called = list_functions(lowered)
    primitive = load_compiler("tirx").PrimFunc
    named = [(str(name.name_hint), function) for name, function in lowered.functions_items()]
    return [(name, function, called.count(name)) for name, function in named if isinstance(function, primitive)]


def _measure_all(
    tasks: Sequence[Task],
    meter: Meter,
    began: float,
    seconds: float,
    report: Callable[[TuningProgress], None] | None,
) -> None:
    """Measure tile after tile: the first of every task, then the second, and so on."""
    total = sum(len(task.tiles) + task.measured for task in tasks)
    done = sum(task.measured for task in tasks)
    best: dict[str, float] = {}
    for turn in range(max((len(task.tiles) for task in tasks), default=0)):
        for task in tasks:
            if turn >= len(task.tiles):
                continue
            if time.monotonic() - began > seconds:
                return
            taken = meter.measure(task.module, task.tiles[turn])
            done += 1
            if taken is not None:
                best[task.name] = min(taken, best.get(task.name, taken))
            if report is not None:
                elapsed = time.monotonic() - began
                report(
                    TuningProgress(task.name, task.tiles[turn].name, taken, best.get(task.name), done, total, elapsed)
                )
