"""Measuring what every group of a plan costs, from passes of one simulated model over the same items."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.backends.simulator import load_simulator
from assay.backends.table import make_target
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.sensitivity import Damage, Sensitivities, Sensitivity
from assay.core.session import Batch, Dataset, Metric, Scores, Session, Task
from assay.core.tensor import Array, Feeds, Outputs
from assay.graph.chunks import Chunk, split_chunks
from assay.graph.save import save_model
from assay.graph.simulate import SimulatedModel
from assay.measure.noise import NoiseMeter, measure_loss
from assay.measure.tasks.fed import add_needed
from assay.studies.cores import count_cores
from assay.studies.loaded import cut
from assay.studies.progress import Progress
from assay.studies.sample import fill_up

MOST_CHUNKS = 8
GROUPS_A_CHUNK = 3
BATCH = 16

State = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Questions:
    """What the sensitivities are measured by.

    Attributes:
        items: the same for every group.
        task: turns outputs into scores.
        metric: of the study.
        fixed_batch: items per call where the model fixes it.
    """

    items: Dataset
    task: Task
    metric: Metric
    fixed_batch: int | None = None


def measure_sensitivities(passes: Passes, questions: Questions, progress: Progress) -> Sensitivities:
    """Switch every group on alone, and with all before it, and compare with the float model.

    Args:
        passes: of the plan's simulated model.
        questions: items, task and metric.
        progress: is told of every batch.

    Raises:
        BackendError: the simulator cannot run the model.
        DataError: an item cannot be read.
        MeasurementError: no output has a signal.
    """
    groups = passes.groups
    alone, cumulative = ([_Record() for _ in groups] for _ in range(2))
    reference: list[Scores] = []
    began, count = time.perf_counter(), passes.count
    for judge in _ask(questions, progress, "measuring groups"):
        plain, states = passes.run_floats(judge.feeds)
        reference.append(judge.score(plain))
        for group, single, so_far in passes.run_groups(judge.feeds, states):
            judge.add(alone[group], plain, single)
            judge.add(cumulative[group], plain, so_far)
    known, metric = Scores.join(reference), questions.metric
    found = tuple(
        Sensitivity(group, single.sum_up(known, metric), so_far.sum_up(known, metric))
        for group, single, so_far in zip(groups, alone, cumulative, strict=True)
    )
    return Sensitivities(
        groups=found,
        together=found[-1].cumulative,
        items=len(known),
        passes=round((passes.count - count) / len(reference)),
        seconds=time.perf_counter() - began,
    )


def measure_settings(
    passes: Passes, questions: Questions, settings: Sequence[NDArray[np.bool_]], progress: Progress
) -> tuple[Damage, ...]:
    """Switch given groups on together, and compare with the float model: what a mixed plan does, without building it.

    Args:
        passes: of the plan's simulated model.
        questions: items, task and metric.
        settings: each ``[groups] bool``, True where a group is quantized.
        progress: is told of every batch.

    Raises:
        BackendError: the simulator cannot run the model.
        DataError: an item cannot be read.
        MeasurementError: no output has a signal.
    """
    reference, records = _record_settings(passes, questions, settings, progress)
    return tuple(record.sum_up(reference, questions.metric) for record in records)


def score_settings(
    passes: Passes, questions: Questions, settings: Sequence[NDArray[np.bool_]], progress: Progress
) -> tuple[Scores, tuple[tuple[float, Scores], ...]]:
    """The same, with the scores of every item: those of the float model, and noise and scores of each setting.

    Args:
        passes: of the plan's simulated model.
        questions: items, task and metric.
        settings: each ``[groups] bool``; at least one.
        progress: is told of every batch.

    Raises:
        BackendError: the simulator cannot run the model.
        DataError: an item cannot be read.
        MeasurementError: no output has a signal.
    """
    reference, records = _record_settings(passes, questions, settings, progress)
    return reference, tuple((record.meter.noise, Scores.join(record.scores)) for record in records)


def _record_settings(
    passes: Passes, questions: Questions, settings: Sequence[NDArray[np.bool_]], progress: Progress
) -> tuple[Scores, list[_Record]]:
    """What the float model and every setting answered."""
    records = [_Record() for _ in settings]
    reference: list[Scores] = []
    for judge in _ask(questions, progress, "simulating mixed plans") if settings else ():
        plain, states = passes.run_floats(judge.feeds)
        reference.append(judge.score(plain))
        for record, switches in zip(records, settings, strict=True):
            judge.add(record, plain, passes.run_setting(judge.feeds, states, switches))
    return Scores.join(reference) if reference else Scores({}, np.zeros(0, np.int64), {}), records


def _ask(questions: Questions, progress: Progress, doing: str) -> Iterator[_Judge]:
    """Batch after batch, with the progress told."""
    progress.start(doing, len(questions.items))
    for batch in questions.items.batches(questions.fixed_batch or BATCH):
        yield _Judge(questions, batch)
        progress.advance(batch.size)
    progress.finish()


class _Record:
    """What is kept of one setting of the switches."""

    def __init__(self) -> None:
        self.meter, self.scores = NoiseMeter(), list[Scores]()

    def sum_up(self, reference: Scores, metric: Metric) -> Damage:
        return Damage(self.meter.noise, measure_loss(reference, Scores.join(self.scores), metric))


class _Judge:
    """Scores the outputs of one batch."""

    def __init__(self, questions: Questions, batch: Batch) -> None:
        self._questions, self._batch = questions, batch
        fixed = questions.fixed_batch
        self.feeds: Feeds = batch.feeds if fixed is None else fill_up(batch.feeds, fixed)

    def add(self, record: _Record, reference: Outputs, outputs: Outputs) -> None:
        record.meter.add(self._trim(reference), self._trim(outputs))
        record.scores.append(self.score(outputs))

    def score(self, outputs: Outputs) -> Scores:
        task = self._questions.task
        scores = task.score(add_needed(task, self._trim(outputs), self._batch.feeds), self._batch.targets)
        return replace(scores, columns={})

    def _trim(self, outputs: Outputs) -> Outputs:
        fixed = self._questions.fixed_batch
        return outputs if fixed is None else cut(outputs, fixed, self._batch.size)


@contextmanager
def open_passes(simulated: SimulatedModel, scratch: Path) -> Iterator[Passes]:
    """Open a simulated model, on all cores.

    Args:
        simulated: of a plan.
        scratch: an existing folder for the files that it is opened from.

    Raises:
        BackendError: the simulator cannot run the model.
    """
    backend = load_simulator()
    target = make_target(backend.name, threads=count_cores())
    chunks = split_chunks(simulated, max(1, min(MOST_CHUNKS, len(simulated.groups) // GROUPS_A_CHUNK)))
    with ExitStack() as stack:
        sessions: list[Session] = []
        for chunk in chunks:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".exposed.", dir=scratch)))
            path, built = folder / "chunk.onnx", folder / "built"
            built.mkdir()
            save_model(chunk.model, path)
            backend.build(path, built, Plan(Precision.FP32), target)
            sessions.append(stack.enter_context(backend.open(built, target)))
        yield Passes(simulated, chunks, sessions)


class Passes:
    """Runs settings of the switches, each from the chunk in which it first differs from what was run before.

    Args:
        simulated: the whole model.
        chunks: of it, in order.
        sessions: of the chunks.

    Attributes:
        groups: in the order of the switches.
        count: passes so far, in runs of all chunks.
    """

    def __init__(self, simulated: SimulatedModel, chunks: Sequence[Chunk], sessions: Sequence[Session]) -> None:
        self._chunks, self._sessions, self._switch = chunks, sessions, simulated.switch
        self._outputs = tuple(str(value.name) for value in simulated.model.graph.outputs)
        self.groups = simulated.groups
        self.count = 0.0

    def run_floats(self, feeds: Feeds) -> tuple[Outputs, list[State]]:
        """The float model's outputs, and what is known before each chunk and at the end."""
        off = np.zeros(len(self.groups), np.bool_)
        states: list[State] = [{}]
        for index in range(len(self._chunks)):
            states.append(self._run(index, feeds, states[-1], off))
        return self._read_outputs(states[-1]), states

    def run_groups(self, feeds: Feeds, states: Sequence[State]) -> Iterator[tuple[int, Outputs, Outputs]]:
        """For each group: the outputs with it alone quantized, and with it and all before it.

        Args:
            feeds: one batch.
            states: of the same batch, from ``run_floats``.
        """
        before: State = {}
        for index, chunk in enumerate(self._chunks):
            for group in range(chunk.first, chunk.last):
                one, all_before = np.zeros(len(self.groups), np.bool_), np.zeros(len(self.groups), np.bool_)
                one[group], all_before[: group + 1] = True, True
                single = self._finish(index, feeds, states[index], one)
                yield group, single, self._finish(index, feeds, before, all_before) if group else single
            if index + 1 < len(self._chunks):
                before = self._run(index, feeds, before, np.arange(len(self.groups)) < chunk.last)

    def run_setting(self, feeds: Feeds, states: Sequence[State], switches: NDArray[np.bool_]) -> Outputs:
        """The outputs with some groups quantized.

        Args:
            feeds: one batch.
            states: of the same batch, from ``run_floats``.
            switches: ``[groups] bool``, True where a group is quantized.
        """
        changed = (index for index, chunk in enumerate(self._chunks) if switches[chunk.first : chunk.last].any())
        start = next(changed, len(self._chunks))
        return self._finish(start, feeds, states[start], switches)

    def _finish(self, index: int, feeds: Feeds, state: State, switches: NDArray[np.bool_]) -> Outputs:
        """Outputs from a chunk on."""
        for later in range(index, len(self._chunks)):
            state = self._run(later, feeds, state, switches)
        return self._read_outputs(state)

    def _run(self, index: int, feeds: Feeds, state: State, switches: NDArray[np.bool_]) -> State:
        """What is known after a chunk, as far as it is needed."""
        chunk = self._chunks[index]
        inputs = {**feeds, **{name: state[name] for name in chunk.reads}, self._switch: switches}
        outputs = self._sessions[index].run(inputs)
        self.count += 1 / len(self._chunks)
        needed = {name for later in self._chunks[index + 1 :] for name in later.reads} | set(self._outputs)
        return {name: value for name, value in {**state, **outputs}.items() if name in needed}

    def _read_outputs(self, state: State) -> Outputs:
        """The model's outputs out of all that is known at the end."""
        return {name: state[name] for name in self._outputs}
