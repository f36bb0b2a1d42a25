"""The stable JSON of an explanation and of faults; numbers that are not finite are null, as JSON has none."""

from __future__ import annotations

import math

import msgspec

from assay.core.explanation import Explanation, GroupGraph
from assay.core.fault import Fault
from assay.core.sensitivity import Blame, Damage, NodeGroup, TensorFacts, WeightFacts

EXPLANATION_SCHEMA = 1


class DamageDocument(msgspec.Struct, frozen=True):
    """What a setting of the quantizers does to the outputs; ``noise`` is a relative power."""

    noise: float | None
    sqnr_db: float | None
    loss: float | None


class NodeDocument(msgspec.Struct, frozen=True):
    """A node in the model's own words; not quantized is what goes along in floats."""

    name: str
    operator: str
    quantized: bool


class ActivationDocument(msgspec.Struct, frozen=True):
    """An activation of a group; ``limits`` is the plan's range, ``low`` and ``high`` are of the items' values."""

    tensor: str
    limits: tuple[float | None, float | None]
    low: float | None
    high: float | None
    clip_rate: float
    clipping_noise: float | None
    rounding_noise: float | None
    outlying_channels: float | None
    dead_channels: float | None


class WeightDocument(msgspec.Struct, frozen=True):
    """A weight of a group."""

    node: str
    noise: float | None
    spread: float | None
    per_channel: bool


class ProposalDocument(msgspec.Struct, frozen=True):
    """What may mend a group."""

    mend: str
    text: str
    reason: str


class BlameDocument(msgspec.Struct, frozen=True):
    """One group; ``kept`` is null unless it is guilty and was measured with all others quantized."""

    rank: int
    group: str
    share: float
    nodes: tuple[NodeDocument, ...]
    alone: DamageDocument
    cumulative: DamageDocument
    kept: DamageDocument | None
    activations: tuple[ActivationDocument, ...]
    weights: tuple[WeightDocument, ...]
    proposals: tuple[ProposalDocument, ...]


class GraphDocument(msgspec.Struct, frozen=True):
    """Names of the groups in an order in which they run; edges are pairs of indices, the writer first."""

    groups: tuple[str, ...]
    kept: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]


class ExplanationDocument(msgspec.Struct, frozen=True):
    """What the groups of a trial cost, the worst first."""

    schema: int
    trial: str
    metric: str
    items: int
    passes: int
    seconds: float
    together: DamageDocument
    groups: tuple[BlameDocument, ...]
    graph: GraphDocument


class FaultDocument(msgspec.Struct, frozen=True):
    """A broken output; ``channels`` is empty where all of it is, and ``nodes`` where its source was not found."""

    kind: str
    tensor: str
    axis: int
    channels: tuple[int, ...]
    of: int
    items: int
    words: str
    nodes: tuple[str, ...]


def show_explanation(explanation: Explanation) -> ExplanationDocument:
    """The stable document behind ``assay explain --json``; ``docs/explain.md`` describes it."""
    found = explanation.sensitivities
    return ExplanationDocument(
        schema=EXPLANATION_SCHEMA,
        trial=explanation.trial,
        metric=explanation.metric,
        items=found.items,
        passes=found.passes,
        seconds=found.seconds,
        together=_show_damage(found.together),
        groups=tuple(_show_blame(blame) for blame in explanation.blames),
        graph=_show_graph(explanation.graph),
    )


def show_fault(fault: Fault) -> FaultDocument:
    """A fault with all that is known of it."""
    return FaultDocument(
        kind=str(fault.kind),
        tensor=fault.tensor,
        axis=fault.axis,
        channels=fault.channels,
        of=fault.of,
        items=fault.items,
        words=fault.words,
        nodes=fault.nodes,
    )


def _show_graph(graph: GroupGraph) -> GraphDocument:
    """The groups by name."""
    kept = tuple(group.name for group in graph.groups if not group.quantized)
    return GraphDocument(tuple(group.name for group in graph.groups), kept, graph.edges)


def _show_blame(blame: Blame) -> BlameDocument:
    """One group with its facts."""
    one = blame.sensitivity
    return BlameDocument(
        rank=blame.rank,
        group=one.group.name,
        share=blame.share,
        nodes=_show_nodes(one.group),
        alone=_show_damage(one.alone),
        cumulative=_show_damage(one.cumulative),
        kept=None if blame.kept is None else _show_damage(blame.kept),
        activations=tuple(_show_tensor(fact) for fact in blame.activations),
        weights=tuple(_show_weight(fact) for fact in blame.weights),
        proposals=tuple(ProposalDocument(str(p.mend), p.text, p.reason) for p in blame.proposals),
    )


def _show_nodes(group: NodeGroup) -> tuple[NodeDocument, ...]:
    """The nodes of a group."""
    return tuple(
        NodeDocument(name, operator, name in group.quantized)
        for name, operator in zip(group.nodes, group.operators, strict=True)
    )


def _show_damage(damage: Damage) -> DamageDocument:
    """A damage."""
    return DamageDocument(_finite(damage.noise), _finite(damage.sqnr_db), damage.loss)


def _show_tensor(fact: TensorFacts) -> ActivationDocument:
    """An activation."""
    return ActivationDocument(
        tensor=fact.name,
        limits=(_finite(fact.limits.low), _finite(fact.limits.high)),
        low=_finite(fact.low),
        high=_finite(fact.high),
        clip_rate=fact.clip_rate,
        clipping_noise=_finite(fact.clipping),
        rounding_noise=_finite(fact.rounding),
        outlying_channels=fact.outlying,
        dead_channels=fact.dead,
    )


def _show_weight(fact: WeightFacts) -> WeightDocument:
    """A weight."""
    return WeightDocument(fact.node, _finite(fact.noise), _finite(fact.spread), fact.per_channel)


def _finite(value: float) -> float | None:
    """A number that JSON can hold."""
    return value if math.isfinite(value) else None
