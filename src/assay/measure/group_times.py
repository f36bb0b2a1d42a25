"""Gives the times of executed nodes to the groups whose nodes they compute."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from assay.core.mixing import NodeTime


@dataclass(frozen=True, slots=True)
class Owners:
    """Who the nodes of a model belong to.

    Attributes:
        groups: node -> index of its group.
        pairs: node that quantizes or dequantizes an activation -> indices of the groups that have the tensor as
            integers.
        outside: nodes that no group has, which run whatever the groups' formats are.
        weights: node -> what it is expected to take, in any unit.
        count: number of groups.
    """

    groups: Mapping[str, int]
    pairs: Mapping[str, tuple[int, ...]]
    outside: Collection[str]
    weights: Mapping[str, float]
    count: int


@dataclass(frozen=True, slots=True)
class GroupTimes:
    """The time of a whole artifact, divided.

    Attributes:
        groups: milliseconds of each group; None where nothing that was executed tells of it.
        converting_ms: of pairs that concern several groups.
        outside_ms: of the model's nodes that belong to no group.
        nameless_ms: of nodes that tell of nothing.
    """

    groups: tuple[float | None, ...]
    converting_ms: float
    outside_ms: float
    nameless_ms: float

    @property
    def rest_ms(self) -> float:
        """What no group has and no pair."""
        return self.outside_ms + self.nameless_ms


def divide_times(nodes: Sequence[NodeTime], owners: Owners, whole_ms: float) -> GroupTimes:
    """Divide the time of a call among groups.

    What a node takes that computes nodes of several groups is divided by their weights, evenly where they have none. A
    pair of one group alone is that group's. Profiling takes time itself, so the times are scaled.

    Args:
        nodes: that were executed; all time is nameless where there are none, or they took none.
        owners: of their origins.
        whole_ms: of one call without profiling, which the times are scaled to.
    """
    total = sum(node.milliseconds for node in nodes)
    groups: list[float | None] = [None] * owners.count
    if total <= 0:
        return GroupTimes(tuple(groups), 0.0, 0.0, whole_ms)
    converting = outside = nameless = 0.0
    for node in nodes:
        taken = node.milliseconds * whole_ms / total
        shares = _share(node.origins, owners)
        for index, share in shares.items():
            groups[index] = (groups[index] or 0.0) + taken * share
        if shares:
            continue
        if any(origin in owners.outside for origin in node.origins):
            outside += taken
        elif any(origin in owners.pairs for origin in node.origins):
            converting += taken
        else:
            nameless += taken
    return GroupTimes(tuple(groups), converting, outside, nameless)


def _share(origins: Sequence[str], owners: Owners) -> Mapping[int, float]:
    """Parts of a node's time by group; they add to 1, or there are none."""
    weights: dict[int, float] = {}
    for origin in origins:
        if origin in owners.groups:
            index = owners.groups[origin]
            weights[index] = weights.get(index, 0.0) + owners.weights.get(origin, 0.0)
    if not weights and not any(origin in owners.outside for origin in origins):
        alone = [owners.pairs[origin] for origin in origins if len(owners.pairs.get(origin, ())) == 1]
        weights = {found[0]: 1.0 for found in alone[:1]}
    total = sum(weights.values())
    return {index: weight / total if total else 1 / len(weights) for index, weight in weights.items()}


def fill_gaps(times: Sequence[float | None], weights: Sequence[float], whole_ms: float, spare_ms: float) -> list[float]:
    """Times of all groups: those that are missing are their part of the whole by weight, as far as time is left.

    Args:
        times: of the groups, None where unknown.
        weights: what each group is expected to take, in any unit.
        whole_ms: of all groups and everything else.
        spare_ms: that no group has: what is missing lies in it.
    """
    shares = divide_evenly(weights)
    wanted = [whole_ms * share if time is None else 0.0 for time, share in zip(times, shares, strict=True)]
    asked = sum(wanted)
    scale = min(1.0, spare_ms / asked) if asked > 0 else 0.0
    return [want * scale if time is None else time for time, want in zip(times, wanted, strict=True)]


def divide_evenly(weights: Sequence[float]) -> list[float]:
    """Shares of one by weight; equal ones where nothing has a weight."""
    total = sum(weights)
    return [weight / total if total > 0 else 1 / len(weights) for weight in weights]


def even_out(times: Sequence[float], kinds: Sequence[str]) -> list[float]:
    """Give groups of one kind their mean time, since what tells them apart is chance.

    Args:
        times: of the groups.
        kinds: what each group's time depends on.
    """
    found: dict[str, list[float]] = {}
    for time, kind in zip(times, kinds, strict=True):
        found.setdefault(kind, []).append(time)
    return [statistics.fmean(found[kind]) for kind in kinds]
