"""Making an explanation of an INT8 plan: realise it, measure what its groups cost, and blame the worst of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from assay.calibrate.clipping import measure_clipping
from assay.calibrate.ranges import solve_ranges
from assay.core.calibration import Calibration, TensorRange
from assay.core.errors import RequestError
from assay.core.explanation import Explanation, GroupGraph
from assay.core.plan import Plan, Scheme
from assay.core.precision import Precision, Repair
from assay.core.sensitivity import Damage, NodeGroup, Sensitivities, TensorFacts
from assay.core.session import Dataset
from assay.decide.blame import Circumstances, Offered, blame_group, rank_groups
from assay.graph.cast_nodes import keep_wide
from assay.graph.group_facts import measure_channels, measure_weights
from assay.graph.group_graph import find_group_graph
from assay.graph.groups import Grouping, find_groups
from assay.graph.realise import list_kept, list_nonfinite, realise
from assay.graph.scales import encode_activation
from assay.graph.simulate import SimulatedModel, simulate
from assay.studies.calibrating import Calibrator, Observed
from assay.studies.progress import Progress
from assay.studies.sensitivities import Passes, Questions, measure_settings
from assay.studies.set_statistics import ObservedModel, observe_model


@dataclass(frozen=True, slots=True)
class Realised:
    """A plan in both forms.

    Attributes:
        observed: the float model that was realised, with its statistics.
        model: the plan as ONNX.
        ranges: of the activations.
        grouping: of what the plan quantizes.
        graph: of these groups, and of those that the plan keeps.
    """

    scheme: Scheme
    observed: Observed
    model: ir.Model
    ranges: Mapping[str, TensorRange]
    grouping: Grouping
    graph: GroupGraph

    def simulate(self) -> SimulatedModel:
        """One model with a switch for each group.

        Raises:
            ModelError: the plan quantizes nothing.
        """
        return simulate(self.observed.model, self.model, self.grouping)


@dataclass(frozen=True, slots=True)
class Case:
    """A plan that is to be explained.

    Attributes:
        trial: its id.
        form: as it was realised.
        repairs: that can change the model at all.
        floats: formats that the runtime has for what is kept.
    """

    trial: str
    form: Realised
    repairs: tuple[Repair, ...]
    floats: tuple[Precision, ...]


def realise_form(plan: Plan, calibrator: Calibrator) -> Realised:
    """A plan as a study realises it; what a run of the study has observed is read, not observed again.

    Raises:
        RequestError: the plan is not in INT8.
        BackendError: the model cannot be observed.
    """
    if plan.scheme is None:
        raise RequestError(f"{plan.name} is not in INT8", "name an INT8 trial")
    observed = calibrator.observe(plan.scheme.repairs)
    ranges = solve_ranges(observed.calibration, plan.scheme)
    moments = calibrator.observe_moments(plan)
    # What is kept stays in FP32 here: the runtime that simulates has no kernels for bfloat16.
    realised = realise(observed.model, keep_wide(plan), observed.calibration, ranges, moments, calibrator.rounded)
    unfit = list_nonfinite(observed.model, observed.calibration)
    grouping = find_groups(observed.model, plan.scheme, ranges, list_kept(plan) | unfit)
    whole = find_groups(observed.model, plan.scheme, ranges, unfit) if plan.overrides else grouping
    graph = find_group_graph(observed.model, grouping, whole)
    return Realised(plan.scheme, observed, realised, ranges, grouping, graph)


def observe_items(form: Realised, model: ObservedModel, items: Dataset, progress: Progress) -> Calibration:
    """Statistics of a plan's float model over the items that its groups are measured on.

    Those of calibration stand in for them where the items do not fill a batch that the model fixes.

    Args:
        form: of the plan.
        model: says what observes it, and in which batches.
        items: of the same measurement.
        progress: is told of every item.

    Raises:
        DataError: an activation is not finite, naming it.
        BackendError: the runtime cannot run the model with its activations exposed.
    """
    if model.fixed_batch is not None and len(items) < model.fixed_batch:
        return form.observed.calibration
    return observe_model(replace(model, prepared=form.observed.model), items, progress)


def measure_kept(
    passes: Passes, questions: Questions, found: Sensitivities, progress: Progress
) -> Mapping[str, Damage]:
    """Name of each guilty group -> what is left where all others are quantized.

    Raises:
        BackendError: the simulator cannot run the model.
        DataError: an item cannot be read.
    """
    guilty = [suspect.sensitivity.group.name for suspect in rank_groups(found) if suspect.guilty]
    settings = [np.array([group.name != name for group in passes.groups]) for name in guilty]
    return dict(zip(guilty, measure_settings(passes, questions, settings, progress), strict=True))


def blame_groups(
    case: Case, metric: str, found: Sensitivities, kept: Mapping[str, Damage], seen: Calibration
) -> Explanation:
    """An explanation out of what was measured; runs nothing.

    Args:
        case: the plan.
        metric: whose item scores the losses are of.
        found: its groups' sensitivities.
        kept: of ``measure_kept``; without it, proposals do not say what keeping a group leaves.
        seen: of ``observe_items``; the statistics of calibration will do.
    """
    form = case.form
    weights = measure_weights(form.observed.model, form.model, form.grouping.groups)
    offered = Offered(form.scheme, case.repairs, case.floats)
    blames = []
    for suspect in rank_groups(found):
        group = suspect.sensitivity.group
        tensors = describe_tensors(group, form, seen)
        around = Circumstances(found.together, kept.get(group.name), tensors, weights[group.name])
        blames.append(blame_group(suspect, around, offered))
    return Explanation(case.trial, form.scheme, metric, tuple(blames), found, form.graph)


def describe_tensors(group: NodeGroup, form: Realised, seen: Calibration) -> list[TensorFacts]:
    """What eight bits do to the activations of a group.

    Args:
        group: of the plan.
        form: the plan.
        seen: statistics of the items that the groups were measured on.
    """
    dialect = form.scheme.dialect
    facts = []
    for name in form.grouping.tensors[group.name]:
        statistics, calibrated = seen.tensors.get(name), form.observed.calibration.tensors.get(name)
        limits = form.ranges.get(form.grouping.sources[name])
        if statistics is None or limits is None or not statistics.count:
            continue
        encoding = encode_activation(limits, dialect.activation, symmetric=dialect.symmetric)
        step, coding = float(encoding.scale), encoding.format
        low, high = (step * (code - encoding.zero_point) for code in (coding.lowest, coding.highest))
        cost = measure_clipping(statistics, low, high, step)
        channels = None if calibrated is None else calibrated.channels
        spread = None if channels is None else measure_channels(channels, step)
        facts.append(
            TensorFacts(
                name=name,
                limits=limits,
                low=statistics.low,
                high=statistics.high,
                clip_rate=cost.rate,
                clipping=cost.clipping,
                rounding=cost.rounding if spread is None else spread.rounding,
                outlying=None if spread is None else spread.outlying,
                dead=None if spread is None else spread.dead,
            )
        )
    return facts
