"""Measures what every group of a plan takes in every format, for the search over mixed plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from assay.core.errors import BackendError
from assay.core.mixing import Boundary, CostTable
from assay.core.precision import Precision
from assay.graph.arithmetic import bind_shapes, count_node
from assay.graph.boundaries import find_boundaries, list_elements
from assay.graph.groups import Grouping
from assay.graph.quantize import name_pair
from assay.measure.group_times import GroupTimes, Owners, divide_times, fill_gaps
from assay.studies.attempt import Attempt
from assay.studies.profiling import profile_artifacts
from assay.studies.profiling_worker import Profile
from assay.studies.workspace import Workspace

MAC_ELEMENTS = 1 / 16
"""Elements that are written in the time of one multiply-accumulate, roughly, where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The groups of a plan at the shapes of a call.

    Attributes:
        owners: of nodes.
        boundaries: between groups.
        weights: what each group is expected to take, in any unit.
    """

    owners: Owners
    boundaries: tuple[Boundary, ...]
    weights: tuple[float, ...]


def measure_costs(
    space: Workspace, grouping: Grouping, model: ir.Model, forms: Mapping[Precision, Attempt]
) -> CostTable:
    """Measure the groups of a plan on the study's target.

    Args:
        space: of the study.
        grouping: of the INT8 plan that quantizes all groups.
        model: the float model that is divided; left as it is.
        forms: format -> attempt of one runtime that ran; that in INT8 quantizes all groups. FP32 and INT8 are there.

    Raises:
        StoreError: the study's folder cannot be written.
    """
    layout = lay_out(space, grouping, model)
    profiles = profile_forms(space, forms)
    divided = {precision: divide_profile(profile, layout) for precision, profile in profiles.items()}
    groups = {
        precision: fill_gaps(
            times.groups, layout.weights, profiles[precision].whole_ms, times.outside_ms + times.nameless_ms
        )
        for precision, times in divided.items()
    }
    spent = sum(groups[Precision.FP32])
    return CostTable(
        groups=tuple({p: groups[p][index] for p in groups} for index in range(len(grouping.groups))),
        boundaries=layout.boundaries,
        fixed_ms=max(0.0, profiles[Precision.FP32].whole_ms - spent),
        crossing_ms=estimate_crossing(layout.boundaries, divided[Precision.INT8]),
    )


def lay_out(space: Workspace, grouping: Grouping, model: ir.Model) -> Layout:
    """Owners, boundaries and weights at the shapes of the study's sample."""
    bound = bind_shapes(model, {name: array.shape for name, array in space.sample.items()})
    elements = list_elements(bound)
    weights = {
        str(node.name): (count_node(node) or 0) * MAC_ELEMENTS + elements[str(node.name)] for node in bound.graph
    }
    concerned: dict[str, tuple[int, ...]] = {}
    for index, group in enumerate(grouping.groups):
        for tensor in grouping.tensors[group.name]:
            for name in name_pair(tensor):
                concerned[name] = (*concerned.get(name, ()), index)
    groups = {name: index for index, group in enumerate(grouping.groups) for name in group.nodes}
    outside = {str(node.name) for node in model.graph} - set(groups)
    owners = Owners(groups, concerned, outside, weights, len(grouping.groups))
    sums = tuple(sum(weights.get(name, 0.0) for name in group.nodes) for group in grouping.groups)
    return Layout(owners, find_boundaries(bound, grouping), sums)


def profile_forms(space: Workspace, forms: Mapping[Precision, Attempt]) -> Mapping[Precision, Profile]:
    """Profiles of the forms; where the runtime fails at that, their quick times alone."""
    runtime = next(iter(forms.values())).candidate.runtime
    folders = [space.store.artifact(attempt.address) for attempt in forms.values()]
    space.progress.start(f"{runtime}: profiling", None)
    try:
        found = profile_artifacts(folders, space.sample, space.target(runtime), space.request.limits)
    except BackendError as error:
        space.progress.say(f"{runtime}: not profiled, so that groups' times are guesses from their sizes: {error}")
        found = tuple(Profile(attempt.probe.quick_ms if attempt.probe else 0.0, ()) for attempt in forms.values())
    finally:
        space.progress.finish()
    return dict(zip(forms, found, strict=True))


def divide_profile(profile: Profile, layout: Layout) -> GroupTimes:
    """The time of a call among groups; all of it nameless where nothing was profiled."""
    if not profile.nodes:
        return GroupTimes((None,) * layout.owners.count, 0.0, 0.0, profile.whole_ms)
    return divide_times(profile.nodes, layout.owners, profile.whole_ms)


def estimate_crossing(boundaries: Sequence[Boundary], times: GroupTimes) -> float:
    """Milliseconds to convert one element, from what conversions take where all groups are quantized."""
    elements = sum(b.elements for b in boundaries if b.writer is None or b.read_in_floats)
    return times.converting_ms / elements if elements else 0.0
