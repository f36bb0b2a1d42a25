"""One INT8 form whose groups are mixed with floats: what its groups cost and lose, measured once and stored."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from assay.core.errors import UnsupportedPlan
from assay.core.mixing import CostTable, Mix
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision
from assay.core.sensitivity import NodeGroup, Sensitivities
from assay.core.session import Dataset
from assay.core.target import Target
from assay.data.subset import every
from assay.decide.knapsack import Knapsack
from assay.decide.resolve import find_deviation
from assay.decide.risks import fit_noises
from assay.graph.narrow import round_nodes
from assay.graph.simulate import simulate
from assay.measure.certification import losses_of
from assay.measure.noise import NoiseMeter, measure_loss
from assay.studies.attempt import Attempt
from assay.studies.blaming import Case, blame_groups, realise_form
from assay.studies.certifying import describe_pair
from assay.studies.explanations import keep_explanation
from assay.studies.group_costs import measure_costs
from assay.studies.loaded import cut
from assay.studies.remote_session import RemoteSession
from assay.studies.sample import fill_up
from assay.studies.scoring import read_stored
from assay.studies.sensitivities import (
    BATCH,
    Passes,
    Questions,
    measure_sensitivities,
    measure_settings,
    open_passes,
    score_settings,
)
from assay.studies.thresholds import thresholded
from assay.studies.workspace import Workspace

MOST_ITEMS = 32
LEAST_ITEMS = 4
MEASURING_SHARE = 0.25
"""Of a search's wall time that measuring the groups may take: fewer items are taken where they are slow."""
SLOWER = 3.0
"""Time of a simulated pass over that of the float artifact, about."""
Forms = Mapping[Precision, Attempt]


@dataclass(frozen=True, slots=True)
class MeasuredForm:
    """What is stored of a form.

    Attributes:
        groups: their names, in the order of the switches.
        settings: indices of the quantized groups of each setting that was measured.
        noises: of these settings; None where a value was not finite.
        float_noise: format -> noise of each group in it.
        items: that the noises were measured on.
        passes: runs of these items for the sensitivities.
        item_seconds: wall time of one item in one pass.
        seconds: wall time of measuring noises and costs.
    """

    groups: tuple[str, ...]
    settings: tuple[tuple[int, ...], ...]
    noises: tuple[float | None, ...]
    costs: CostTable
    float_noise: Mapping[Precision, tuple[float, ...]]
    items: int
    passes: int
    item_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class SettingScore:
    """What was simulated of a setting on items of the search.

    Attributes:
        quantized: indices of its quantized groups.
        noise: of the outputs; None where a value was not finite.
        loss: of the metric; positive is worse.
        variance: of one item's loss.
        moved: how far answers moved, mean over the items; None where the task does not tell.
    """

    quantized: tuple[int, ...]
    noise: float | None
    loss: float
    variance: float
    moved: float | None


class MixedForm:
    """Predicts, and simulates without building, what mixed plans of one INT8 form cost and lose; a context manager.

    Args:
        space: the study.
        base: the INT8 form.
        forms: of the same runtime, that ran: the form itself, FP32, and the 16-bit ones there are.

    Attributes:
        base: as given.
        groups: that the form quantizes.

    Raises:
        BackendError: the model cannot be observed.
    """

    def __init__(self, space: Workspace, base: Candidate, forms: Forms) -> None:
        self._space, self._forms = space, forms
        self._stack = ExitStack()
        self._passes: Passes | None = None
        self.base = base
        if space.calibrator is None:
            raise UnsupportedPlan(f"{base.id} has no groups in INT8", "give --calibration")
        self._form = realise_form(base.plan, space.calibrator)
        self.groups: tuple[NodeGroup, ...] = self._form.grouping.groups
        self._name = f"mixed/{base.id}.measured"
        self._items = self._choose_items()

    @property
    def obstacle(self) -> str:
        """Why the groups cannot be measured; empty where they can."""
        if len(self.groups) < 2:  # noqa: PLR2004 - one group is quantized or not: there is nothing to mix
            return f"it quantizes {len(self.groups)} group of nodes, so there is nothing to mix"
        if not len(self._items):
            return "measuring its groups would take longer than the search may"
        return ""

    def measure(self) -> MeasuredForm:
        """Noises of all groups, alone and so far, and costs; read where an earlier run measured them.

        Raises:
            BackendError: the model cannot be run.
            DataError: an item cannot be read.
        """
        stored = self._space.store.read(self._name, MeasuredForm)
        if stored is not None and stored.groups == tuple(group.name for group in self.groups):
            return stored
        began = time.perf_counter()
        float_noise = self._measure_floats()
        wanted = {Precision.INT8, Precision.FP32, *self.list_floats()}
        forms = {precision: form for precision, form in self._forms.items() if precision in wanted}
        costs = measure_costs(self._space, self._form.grouping, self._form.observed.model, forms)
        found = measure_sensitivities(self._open(), self._questions(), self._space.progress)
        self._explain(found)
        every_one = range(len(self.groups))
        named = [group.name for group in self.groups]
        settings = [(index,) for index in every_one] + [tuple(range(index + 1)) for index in every_one[1:]]
        damages = [one.alone for one in found.groups] + [one.cumulative for one in found.groups[1:]]
        measured = MeasuredForm(
            groups=tuple(named),
            settings=tuple(settings),
            noises=tuple(_store_noise(damage.noise) for damage in damages),
            costs=costs,
            float_noise=float_noise,
            items=found.items,
            passes=found.passes,
            item_seconds=found.seconds / max(1, found.passes * found.items),
            seconds=time.perf_counter() - began,
        )
        self._space.store.write(self._name, measured)
        return measured

    def _explain(self, found: Sensitivities) -> None:
        """Keep with the study what costs the form its answers; what keeping a group leaves is for drafts to tell."""
        case = Case(self.base.id, self._form, self._space.subject.traits.repairs, self.list_floats())
        seen = self._form.observed.calibration
        keep_explanation(self._space.store, blame_groups(case, self._space.metric.name, found, {}, seen))

    def make_sack(self, measured: MeasuredForm) -> Knapsack:
        """What the search puts plans together from, with all that was measured so far."""
        settings = np.zeros((len(measured.settings), len(self.groups)), np.bool_)
        for row, quantized in zip(settings, measured.settings, strict=True):
            row[list(quantized)] = True
        noises = np.array([math.inf if noise is None else noise for noise in measured.noises])
        fitted = fit_noises(settings, noises, measured.costs.boundaries)
        return Knapsack(measured.costs, fitted, measured.float_noise)

    def score(self, settings: Sequence[tuple[int, ...]], items: int) -> tuple[SettingScore, ...]:
        """Simulate settings on the first search items, as far as an earlier run has not.

        Args:
            settings: indices of the quantized groups of each.
            items: of the search.

        Raises:
            BackendError: the model cannot be run.
            DataError: an item cannot be read.
        """
        name = f"mixed/{self.base.id}.{items}"
        known = {one.quantized: one for one in self._space.store.read(name, tuple[SettingScore, ...]) or ()}
        fresh = [one for one in dict.fromkeys(settings) if one not in known]
        if fresh:
            switches = [np.isin(np.arange(len(self.groups)), one) for one in fresh]
            questions = replace(self._questions(), items=self._take(items))
            reference, answers = score_settings(self._open(), questions, switches, self._space.progress)
            for quantized, (noise, scores) in zip(fresh, answers, strict=True):
                quality = describe_pair(self._space, reference, scores)
                variance = (find_deviation(quality) or 0.0) ** 2
                moved = measure_loss(reference, scores, self._space.metric)
                known[quantized] = SettingScore(quantized, _store_noise(noise), losses_of(quality)[0], variance, moved)
            self._space.store.write(name, tuple(known.values()))
        return tuple(known[one] for one in settings)

    def compose(self, mix: Mix) -> Candidate | None:
        """The candidate of a mix; None where the runtime cannot realise it."""
        kept = {
            node: precision
            for group, precision in zip(self.groups, mix, strict=True)
            if precision is not Precision.INT8
            for node in group.nodes
        }
        backend, target = self._space.backends[self.base.runtime], self._space.target(self.base.runtime)
        floats = sorted(set(kept.values()), key=lambda precision: precision.bits)
        for rest in dict.fromkeys((*floats, Precision.FP32, self.base.plan.rest)):
            known = {name: rest if precision is self.base.plan.rest else precision for name, precision in self._fixed()}
            plan = replace(self.base.plan, rest=rest, overrides=tuple(sorted((known | kept).items())))
            if backend.supports(plan, target).supported:
                return Candidate(self.base.runtime, plan)
        return None

    def list_floats(self) -> tuple[Precision, ...]:
        """Formats that groups may be left in, and whose form ran."""
        backend, target = self._space.backends[self.base.runtime], self._space.target(self.base.runtime)
        return tuple(precision for precision in backend.rests(target) if precision in self._forms)

    def close(self) -> None:
        """Close the simulated model."""
        self._stack.close()
        self._passes = None

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _fixed(self) -> tuple[tuple[str, Precision], ...]:
        """Nodes that the form itself keeps."""
        return self.base.plan.overrides

    def _choose_items(self) -> Dataset:
        """Search items that the groups are measured on; none where even a few would take too long."""
        space = self._space
        probe = self._forms[Precision.FP32].probe
        calls = SLOWER * (len(self.groups) + 2) * (1 + len(self._list_narrow())) / space.request.batch
        seconds = calls * (0.0 if probe is None else probe.quick_ms / 1e3)
        allowed = MEASURING_SHARE * space.request.mixed.seconds
        count = MOST_ITEMS if seconds * MOST_ITEMS <= allowed else int(allowed / seconds)
        if count < LEAST_ITEMS:
            count = LEAST_ITEMS if seconds * LEAST_ITEMS <= space.request.mixed.seconds else 0
        return self._take(min(count, space.split.search))

    def _take(self, count: int) -> Dataset:
        """The first search items."""
        return every(self._space.evaluation, np.sort(self._space.split.order[:count]).tolist())

    def _questions(self) -> Questions:
        """What the groups are asked, at the thresholds of FP32: a plan's own ones are tuned when it is built."""
        space = self._space
        task = thresholded(space, read_stored(space, self._forms[Precision.FP32].candidate))
        return Questions(self._items, task, space.metric, space.subject.fixed_batch)

    def _open(self) -> Passes:
        """The simulated model, opened when it is first needed."""
        if self._passes is None:
            scratch = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="assay-"))
            self._passes = self._stack.enter_context(open_passes(self._form.simulate(), Path(scratch)))
        return self._passes

    def _measure_floats(self) -> dict[Precision, tuple[float, ...]]:
        """Noise of each group in each 16-bit format: its part of what the runtime's form of the whole model has."""
        return {
            precision: divide_noise(self._measure_form(precision), self._simulate_floats(precision))
            for precision in self._list_narrow()
        }

    def _list_narrow(self) -> list[Precision]:
        """The 16-bit formats that groups may be left in."""
        return [precision for precision in self.list_floats() if precision is not Precision.FP32]

    def _simulate_floats(self, precision: Precision) -> list[float]:
        """Noise of each group alone in a 16-bit format, all others in FP32."""
        names = {name for group in self.groups for name in group.nodes}
        rounded = round_nodes(self._form.observed.model, names, precision)
        simulated = simulate(self._form.observed.model, rounded, replace(self._form.grouping, firm=frozenset()))
        places = np.arange(len(self.groups))
        settings = [places == index for index in places]
        with tempfile.TemporaryDirectory(prefix="assay-") as scratch, open_passes(simulated, Path(scratch)) as passes:
            # Half of the items: formats of 16 bits add little, and which group adds most of it shows soon.
            questions = replace(self._questions(), items=self._take(max(LEAST_ITEMS, len(self._items) // 2)))
            return [one.noise for one in measure_settings(passes, questions, settings, self._space.progress)]

    def _measure_form(self, precision: Precision) -> float:
        """Noise of a whole form beside FP32, on the same items."""
        space, fixed = self._space, self._space.subject.fixed_batch
        meter, target = NoiseMeter(), self._scoring_target()
        with ExitStack() as stack:
            sessions = [
                stack.enter_context(RemoteSession(folder, target, space.request.limits, "scoring"))
                for folder in (space.store.artifact(self._forms[one].address) for one in (Precision.FP32, precision))
            ]
            for batch in self._items.batches(fixed or BATCH):
                feeds = batch.feeds if fixed is None else fill_up(batch.feeds, fixed)
                outputs = [session.run(feeds) for session in sessions]
                meter.add(*(one if fixed is None else cut(one, fixed, batch.size) for one in outputs))
        return meter.noise

    def _scoring_target(self) -> Target:
        return self._space.scoring_target(self.base.runtime)


def divide_noise(whole: float, parts: Sequence[float]) -> tuple[float, ...]:
    """The noise of a whole form, divided among its groups as what each makes alone; equally where that tells nothing.

    Noises of groups hardly add up to the whole's, since their errors are not quite of different origin.

    Args:
        whole: of the form in one format.
        parts: of each group alone in it; at least one.
    """
    total = math.fsum(parts)
    if not (math.isfinite(total) and total > 0):
        return (whole / len(parts),) * len(parts)
    return tuple(whole * part / total for part in parts)


def _store_noise(noise: float) -> float | None:
    """A noise as JSON can hold it."""
    return noise if math.isfinite(noise) else None


def find_plain(attempts: Sequence[Attempt], runtime: str) -> dict[Precision, Attempt]:
    """The forms of a runtime that ran with one format for everything."""
    return {
        attempt.candidate.plan.precision: attempt
        for attempt in attempts
        if attempt.probe is not None
        and attempt.candidate.runtime == runtime
        and attempt.candidate.plan.scheme is None
        and attempt.candidate.plan == Plan(attempt.candidate.plan.precision, cast=attempt.candidate.plan.cast)
    }
