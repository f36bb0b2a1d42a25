"""Measures what every group of a plan takes in every format, for the search over mixed plans.

The runtime tells what its nodes take, and which nodes of the model they compute. What tensors cost that go from a group
in one format to a group in another shows in no form whose groups are all alike. So two forms are built in which every
second group stays in floats, and what they take beyond their groups is divided among the elements that they convert.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from assay.core.errors import BackendError
from assay.core.mixing import CostTable, Mix
from assay.core.precision import Precision
from assay.graph.groups import Grouping
from assay.measure.group_times import GroupTimes, divide_evenly, divide_times, even_out, fill_gaps
from assay.studies.attempt import Attempt
from assay.studies.crossing import CrossedForm, find_float, open_crossed
from assay.studies.group_layout import Layout, lay_out
from assay.studies.latency_tables import LatencyFile, describe_target
from assay.studies.profiling import profile_artifacts
from assay.studies.profiling_worker import Profile
from assay.studies.time_names import name_times
from assay.studies.workspace import Workspace

Forms = Mapping[Precision, Attempt]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of the forms of a plan.

    Attributes:
        profiles: of the forms in one format each.
        rest: format of what no group has.
        mixed: formats and milliseconds of the forms whose groups differ.
    """

    profiles: Mapping[Precision, Profile]
    rest: Precision
    mixed: tuple[tuple[Mix, float], ...] = ()


def measure_costs(space: Workspace, grouping: Grouping, model: ir.Model, forms: Forms) -> CostTable:
    """Measure the groups of a plan on the study's target, or read what earlier studies measured.

    Args:
        space: of the study.
        grouping: of the INT8 plan that quantizes all groups.
        model: the float model that is divided; left as it is.
        forms: format -> attempt of one runtime that ran; that in INT8 quantizes all groups. FP32 and INT8 are there.

    Raises:
        StoreError: the study's folder cannot be written.
    """
    layout = lay_out(grouping, model, space.sample)
    runtime = forms[Precision.INT8].candidate.runtime
    kept = find_float(space, forms)
    keys = name_times(layout, {precision: attempt.candidate.plan for precision, attempt in forms.items()}, kept)
    versions = dict(space.backends[runtime].versions()) | {"assay": space.versions.get("assay", "")}
    file = LatencyFile(describe_target(space.target(runtime), versions), space.progress)
    known = file.find(keys.all())
    if known is not None:
        space.progress.say(f"{runtime}: the times of all {len(grouping.groups)} groups are known from earlier studies")
        return level(keys.recall(layout, known), forms)
    with open_crossed(space, grouping, forms[Precision.INT8], kept) as crossed:
        measured = profile_forms(space, forms, crossed)
    table = tabulate(layout, measured)
    if all(profile.nodes for profile in measured.profiles.values()):
        file.add(keys.collect(table))
    return level(table, forms)


def profile_forms(space: Workspace, forms: Forms, crossed: Sequence[CrossedForm]) -> Measured:
    """Profile the forms; where the runtime fails at that, their quick times are all there is."""
    runtime, rest = forms[Precision.INT8].candidate.runtime, forms[Precision.INT8].candidate.plan.rest
    rest = rest if rest in forms else Precision.FP32
    folders = [space.store.artifact(attempt.address) for attempt in forms.values()]
    timed = [form.folder for form in crossed]
    space.progress.start(f"{runtime}: timing groups of nodes", None)
    try:
        found = profile_artifacts(folders, timed, space.sample, space.target(runtime), space.request.limits)
    except BackendError as error:
        space.progress.say(f"{runtime}: its nodes are not timed, and groups share its times by their size: {error}")
        quick = [0.0 if attempt.probe is None else attempt.probe.quick_ms for attempt in forms.values()]
        return Measured({p: Profile(ms, ()) for p, ms in zip(forms, quick, strict=True)}, rest)
    finally:
        space.progress.finish()
    profiles = dict(zip(forms, found, strict=False))
    others = found[len(folders) :]
    return Measured(profiles, rest, tuple((form.mix, one.whole_ms) for form, one in zip(crossed, others, strict=True)))


def tabulate(layout: Layout, measured: Measured) -> CostTable:
    """The times of groups, and of what lies between them.

    The forms in INT8 and in the format of the rest are predicted as they were measured, and so are those whose groups
    differ, all together, unless they are faster than their groups.
    """
    profiles = measured.profiles
    divided = {p: divide_times(profile.nodes, layout.owners, profile.whole_ms) for p, profile in profiles.items()}
    filled = {
        p: even_out(fill_gaps(times.groups, layout.weights, profiles[p].whole_ms, times.rest_ms), layout.signatures)
        for p, times in divided.items()
    }
    fixed = max(0.0, profiles[measured.rest].whole_ms - sum(filled[measured.rest]))
    table = CostTable(
        groups=tuple({p: filled[p][index] for p in filled} for index in range(layout.owners.count)),
        boundaries=layout.boundaries,
        fixed_ms=fixed,
        crossing_ms=0.0,
    )
    whole = profiles[Precision.INT8].whole_ms
    if not measured.mixed:
        return settle(table, layout, whole, estimate_crossing(table, divided[Precision.INT8]))
    wanted = sum(ms for _, ms in measured.mixed)
    unit = wanted / max(1, sum(table.count_crossed(mix) for mix, _ in measured.mixed))
    none, one = (
        sum(settle(table, layout, whole, rate).predict_ms(mix) for mix, _ in measured.mixed) for rate in (0.0, unit)
    )
    share = (wanted - none) / (one - none) if one > none else 0.0
    return settle(table, layout, whole, unit * max(0.0, share))


def estimate_crossing(table: CostTable, times: GroupTimes) -> float:
    """Milliseconds to convert one element, from what conversions take where all groups are quantized."""
    elements = table.count_crossed((Precision.INT8,) * len(table.groups))
    return times.converting_ms / elements if elements else 0.0


def settle(table: CostTable, layout: Layout, whole_ms: float, crossing_ms: float) -> CostTable:
    """A table whose form in INT8 takes what was measured, for a given time of conversions.

    What is missing quantizes tensors that come from outside the groups: those that read them pay for it.

    Args:
        table: of times as the profiles tell.
        layout: of the groups.
        whole_ms: of the form in INT8.
        crossing_ms: for one element.
    """
    mix = (Precision.INT8,) * layout.owners.count
    priced = replace(table, crossing_ms=crossing_ms)
    missing = whole_ms - priced.predict_ms(mix)
    shares = divide_evenly(layout.foreign if any(layout.foreign) else layout.weights)
    groups = tuple(
        {**times, Precision.INT8: max(0.0, times[Precision.INT8] + missing * share)}
        for times, share in zip(table.groups, shares, strict=True)
    )
    return replace(priced, groups=groups)


def level(table: CostTable, forms: Forms) -> CostTable:
    """A table at the level of the quick times that candidates are compared by: the machine may have been busier then.

    The ratios of formats and groups stay what they are: they were measured together.
    """
    ratios = [
        attempt.probe.quick_ms / predicted
        for precision, attempt in forms.items()
        if attempt.probe is not None
        and attempt.probe.quick_ms > 0
        and (predicted := table.predict_ms((precision,) * len(table.groups))) > 0
    ]
    factor = statistics.geometric_mean(ratios) if ratios else 1.0
    return CostTable(
        groups=tuple({precision: ms * factor for precision, ms in times.items()} for times in table.groups),
        boundaries=table.boundaries,
        fixed_ms=table.fixed_ms * factor,
        crossing_ms=table.crossing_ms * factor,
    )
