"""One INT8 form of a network, and every subset of its groups kept in floats: built, run and scored, once."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from assay.backends.backend import Backend
from assay.calibrate.ranges import solve_ranges
from assay.core.mixing import Mix
from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod, Repair
from assay.core.sensitivity import NodeGroup
from assay.core.session import Scores
from assay.core.target import Target
from assay.data.subset import every
from assay.decide.resolve import find_deviation
from assay.graph.channel_groups import list_groups as list_channel_groups
from assay.graph.groups import find_groups
from assay.graph.ingest import load_model
from assay.graph.prepare import prepare
from assay.graph.realise import list_nonfinite
from assay.graph.rescale import rescale_group
from assay.graph.save import save_model
from assay.measure.certification import losses_of
from assay.measure.noise import measure_loss
from assay.measure.quality import score_dataset
from assay.measure.statistics.paired import compare
from assay.studies.attempt import realise_plan
from assay.studies.compose import compose_request
from assay.studies.config import DataSection, StudyFile, anchor, override, read_study_file
from assay.studies.files import new_folder, read_arrays, write_arrays
from assay.studies.opening import open_workspace
from assay.studies.progress import Silent
from assay.studies.workspace import Workspace

ROOT = Path(__file__).parents[2]
NETWORK = Path(__file__).with_name("small.onnx")
STUDY = ROOT / "examples/fashion/study.toml"
METRIC = "agreement"
SPREAD = 2
"""Channels are scaled by powers of two from 1/4 to 4."""
SEED = 1
FLOATS = -1
"""Stands for the float model where others have the number of a subset."""


@dataclass(frozen=True)
class Settings:
    """What is searched.

    Attributes:
        work: folder that everything is kept in.
        runtime: that runs it.
        rest: format of the groups that are kept in floats.
        items: evaluation items that each subset is scored on; the search has some of them.
    """

    work: Path
    runtime: str
    rest: Precision
    items: int


@dataclass(frozen=True)
class Ground:
    """An INT8 form with all subsets of its groups.

    A subset is a number: bit ``i`` is set where group ``i`` is kept in floats.

    Attributes:
        plan: the form with all groups quantized.
        groups: in the order in which they run.
    """

    settings: Settings
    space: Workspace
    plan: Plan
    groups: tuple[NodeGroup, ...]

    @property
    def subsets(self) -> range:
        """All of them."""
        return range(1 << len(self.groups))

    @property
    def backend(self) -> Backend:
        """Of the runtime."""
        return self.space.backends[self.settings.runtime]

    @property
    def target(self) -> Target:
        """As it is deployed."""
        return self.space.target(self.settings.runtime)

    @property
    def order(self) -> NDArray[np.int64]:
        """Positions of the items in the evaluation data, the search items first."""
        return self.space.split.order

    def plan_of(self, subset: int) -> Plan:
        """The plan of a subset, or of the float model."""
        if subset == FLOATS:
            return Plan(Precision.FP32)
        kept = [group for index, group in enumerate(self.groups) if subset >> index & 1]
        names = sorted(name for group in kept for name in group.nodes)
        return replace(self.plan, overrides=tuple((name, self.settings.rest) for name in names))

    def subset_of(self, plan: Plan) -> int | None:
        """The subset that a plan keeps; None where it is none of them.

        A plan may leave out what its group only takes along, so a group counts as kept where all its quantized nodes
        are.
        """
        kept = {name for name, precision in plan.overrides if precision is not plan.precision}
        if replace(plan, overrides=()) != self.plan:
            return None
        subset = sum(1 << index for index, group in enumerate(self.groups) if kept >= set(group.quantized))
        strange = kept - {name for index, g in enumerate(self.groups) if subset >> index & 1 for name in g.nodes}
        return None if strange else subset

    def mix_of(self, subset: int) -> Mix:
        """Formats of the groups of a subset."""
        rest = self.settings.rest
        return tuple(rest if subset >> index & 1 else Precision.INT8 for index in range(len(self.groups)))

    def artifact(self, subset: int) -> Path:
        """Where the built form of a subset lies."""
        return self.settings.work / "built" / name_subset(subset)

    def scores_file(self, subset: int) -> Path:
        """Where the scores of a subset lie."""
        return self.settings.work / "scores" / f"{name_subset(subset)}.npz"


def name_subset(subset: int) -> str:
    """Name of a subset's files."""
    return "floats" if subset == FLOATS else f"{subset:04x}"


def spread_channels(network: Path, into: Path) -> None:
    """Write a network with every channel that can be at a random scale, which cancels out bit for bit.

    So its activations are as uneven as folded batch normalization can leave them (Nagel et al. 2019, on MobileNetV2),
    and INT8 loses a few percent of the answers; as it was trained, this network would lose too little to search for.
    """
    model, rng = prepare(load_model(network)), np.random.default_rng(SEED)
    for group in list_channel_groups(model.graph):
        rescale_group(group, np.exp2(rng.integers(-SPREAD, SPREAD + 1, group.channels)))
    with tempfile.TemporaryDirectory(dir=into.parent) as name:
        save_model(model, Path(name, into.name))
        Path(name, into.name).replace(into)


def open_ground(settings: Settings, tolerance: str = "1pp", folder: str = "study") -> Ground:
    """The network, calibrated as a study calibrates it.

    Args:
        settings: what is searched.
        tolerance: on the agreement with the float model.
        folder: of the study, in the work folder.
    """
    settings.work.mkdir(parents=True, exist_ok=True)
    network = settings.work / NETWORK.name
    if not network.is_file():
        spread_channels(NETWORK, network)
    file = StudyFile(
        model=str(network),
        output=str(settings.work / folder),
        title="Every subset",
        tolerance=f"{METRIC}: {tolerance}",
        runtimes=(settings.runtime,),
        precisions=tuple({"fp32", str(settings.rest), "int8"}),
        ranges=(str(RangeMethod.MSE),),
        repairs=(str(Repair.BIAS),),
        evaluation=DataSection(items=settings.items),
        accept_unresolvable=True,
    )
    request = compose_request(override(anchor(read_study_file(STUDY), STUDY.parent), file))
    space = open_workspace(request, Silent())
    dialect = space.backends[settings.runtime].dialects(space.target(settings.runtime))[0]
    scheme = Scheme(dialect, Placement.CHAIN, RangeMethod.MSE, (Repair.BIAS,))
    plan = Plan(Precision.INT8, rest=settings.rest, scheme=scheme)
    return Ground(settings, space, plan, list_groups(space, scheme))


def list_groups(space: Workspace, scheme: Scheme) -> tuple[NodeGroup, ...]:
    """What the form quantizes, as the search divides it."""
    if space.calibrator is None:
        raise SystemExit("the study has no calibration data")
    observed = space.calibrator.observe(scheme.repairs)
    ranges = solve_ranges(observed.calibration, scheme)
    return find_groups(observed.model, scheme, ranges, list_nonfinite(observed.model, observed.calibration)).groups


def build_all(ground: Ground) -> Iterator[int]:
    """Build and score the float model and every subset that is not there yet, and tell of each."""
    for subset in (FLOATS, *ground.subsets):
        if not ground.artifact(subset).is_dir():
            build_subset(ground, subset)
        if not ground.scores_file(subset).is_file():
            score_subset(ground, subset)
        yield subset


def build_subset(ground: Ground, subset: int) -> None:
    """Build one subset, in this process."""
    plan = ground.plan_of(subset)
    realised = realise_plan(ground.space, plan)
    with tempfile.TemporaryDirectory(dir=ground.settings.work) as name, new_folder(ground.artifact(subset)) as into:
        path = Path(name, "model.onnx")
        save_model(realised, path)
        ground.backend.build(path, into, plan, ground.target)


def score_subset(ground: Ground, subset: int) -> None:
    """Score one subset on its items, in their order."""
    items, space = ground.order, ground.space
    with ground.backend.open(ground.artifact(subset), ground.target) as session:
        scored = score_dataset(
            session, every(space.evaluation, np.sort(items).tolist()), space.task, space.scoring_batch, lambda _n: None
        )
    drawn = scored.scores.select(np.argsort(np.argsort(items)).astype(np.int64))
    certainty = drawn.certainty
    if certainty is None:
        raise SystemExit("the task tells no certainty")
    ground.scores_file(subset).parent.mkdir(exist_ok=True)
    arrays = {"predictions": drawn.predictions.astype(np.int16), "certainty": certainty.astype(np.float32)}
    write_arrays(ground.scores_file(subset), arrays | {"right": drawn.metrics["top1"].astype(np.bool_)})


@dataclass(frozen=True)
class Quality:
    """What a subset loses on some items, in shares of 1.

    Attributes:
        loss: answers that are not the float model's.
        bound: of the loss, one-sided at the study's confidence: what a certificate on these items says.
        expected: bound that the study's certification items are expected to give, were these items' loss the true one.
        movement: how far answers moved, which is what sensitivities count.
    """

    loss: float
    bound: float
    expected: float
    movement: float


def read_quality(ground: Ground, rows: slice) -> dict[int, Quality]:
    """Of every subset, on some of the items, in the order in which a study draws them."""
    reference = read_scores(ground.scores_file(FLOATS)).select(rows)
    confidence, others = ground.space.request.requirements.confidence, ground.space.split.certification
    z = NormalDist().inv_cdf(confidence)
    found: dict[int, Quality] = {}
    for subset in ground.subsets:
        scores = read_scores(ground.scores_file(subset)).select(rows)
        compared = compare(ground.space.metric, reference, scores, confidence)
        moved = measure_loss(replace(reference, metrics={}), replace(scores, metrics={}), ground.space.metric)
        loss, _low, bound = losses_of(compared)
        found[subset] = Quality(
            loss=loss,
            bound=bound,
            expected=loss + z * (find_deviation(compared) or 0.0) / math.sqrt(others),
            movement=math.nan if moved is None else moved,
        )
    return found


def read_scores(path: Path) -> Scores:
    """Stored scores of all items."""
    arrays = read_arrays(path)
    return Scores(
        metrics={"top1": arrays["right"].astype(np.float64)},
        predictions=arrays["predictions"].astype(np.int64),
        certainty=arrays["certainty"].astype(np.float64),
    )
