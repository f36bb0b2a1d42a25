"""Explanations with made-up but plausible numbers, of a network with residual branches and of a long one."""

from __future__ import annotations

from dataclasses import replace

from trial_samples import U8S8, make_plan

from assay.core.calibration import TensorRange
from assay.core.explanation import Explanation, GroupGraph
from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.sensitivity import Damage, NodeGroup, Sensitivities, Sensitivity, TensorFacts, WeightFacts
from assay.decide.blame import Circumstances, Offered, blame_group, rank_groups

SCHEME = Scheme(U8S8, Placement.CHAIN, RangeMethod.MSE)
TRIAL = "openvino.int8-u8s8-chain-mse"
KEPT = ("layer1/conv2", "head/fc")
NAMES = (
    "stem/conv",
    "layer1/conv1",
    "layer1/conv2",
    "layer2/conv1",
    "layer2/conv2",
    "layer2/shortcut",
    "layer3/conv1",
    "layer3/conv2",
    "head/fc",
)
EDGES = ((0, 1), (0, 2), (1, 2), (2, 3), (2, 5), (3, 4), (4, 5), (5, 6), (5, 7), (6, 7), (7, 8))
LOSSES = (0.004, 0.001, 0.052, 0.002, 0.003, 0.001, 0.002, 0.031, 0.004)


def make_group(name: str) -> NodeGroup:
    head = name.rpartition("/")[2]
    if head == "fc":
        return NodeGroup(name, (name,), ("Gemm",), (name,))
    ends = ("add", "relu") if head in {"conv2", "shortcut"} else ("relu",)
    operators = ("Conv", *(end.capitalize() for end in ends))
    return NodeGroup(name, (name, *(f"{name}.{end}" for end in ends)), operators, (name,))


def make_facts(name: str, noise: float) -> TensorFacts:
    return TensorFacts(
        name=f"{name}.input",
        limits=TensorRange(-1.5, 6.25),
        low=-2.0,
        high=9.5,
        clip_rate=0.0123,
        clipping=noise * 0.7,
        rounding=noise * 0.3,
        outlying=0.0625,
        dead=0.0,
    )


def make_explanation(
    names: tuple[str, ...] = NAMES,
    edges: tuple[tuple[int, int], ...] = EDGES,
    losses: tuple[float, ...] = LOSSES,
    trial: str = TRIAL,
) -> Explanation:
    groups = tuple(make_group(name) for name in names)
    found = Sensitivities(
        groups=tuple(
            Sensitivity(group, Damage(loss / 10, loss), Damage(sum(losses[: i + 1]) / 12, sum(losses[: i + 1])))
            for i, (group, loss) in enumerate(zip(groups, losses, strict=True))
        ),
        together=Damage(sum(losses) / 12, sum(losses)),
        items=32,
        passes=len(names),
        seconds=3.25,
    )
    offered = Offered(SCHEME, (), (Precision.FP32, Precision.BF16))
    blames = []
    for suspect in rank_groups(found):
        one = suspect.sensitivity
        kept = replace(found.together, noise=found.together.noise - one.alone.noise / 2) if suspect.guilty else None
        weights = [WeightFacts(one.group.name, 0.0002, 1.9, per_channel=True)]
        around = Circumstances(found.together, kept, [make_facts(one.group.name, one.alone.noise)], weights)
        blames.append(blame_group(suspect, around, offered))
    return Explanation(trial, SCHEME, "top1", tuple(blames), found, GroupGraph(groups, edges))


def make_mixed_plan(kept: tuple[str, ...] = KEPT, precision: Precision = Precision.BF16) -> Plan:
    plan = make_plan(Precision.INT8)
    nodes = [(name, precision) for head in kept for name in make_group(head).nodes]
    return replace(plan, overrides=tuple(nodes))
