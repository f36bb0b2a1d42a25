"""The record of a finished or running study: all that a report or a release needs, and nothing that runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.core.convergence import Convergence
from assay.core.decision import Decision
from assay.core.detected import DetectedClasses
from assay.core.fitness import Fitness
from assay.core.flip import Flip
from assay.core.item_lengths import ItemLengths
from assay.core.mixing import MixedBudget, MixedSearch
from assay.core.requirements import Requirements
from assay.core.sample_plan import SamplePlan
from assay.core.threshold import ThresholdRule
from assay.core.trial import Trial
from assay.data.source import Preprocess

RECORD_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ModelProvenance:
    """Where the model came from and what it is.

    Attributes:
        file: file name, without its folder.
        sha256: of the file and its external data.
        opset: of the default ONNX domain.
        parameters: number of weights.
        size_bytes: of the file and its external data.
        macs: multiply-accumulates of one item; of one of the median length where items differ in length.
        inputs: one text per input, such as ``image float32 [batch, 3, 224, 224]``.
        outputs: one text per output.
    """

    file: str
    sha256: str
    opset: int
    parameters: int
    size_bytes: int
    macs: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataProvenance:
    """Where data came from.

    Attributes:
        source: as the user named it.
        fingerprint: content hash of items and preprocessing.
        items: number of items used.
    """

    source: str
    fingerprint: str
    items: int


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study with its request, provenance, trials and decision.

    Attributes:
        created: ISO 8601, UTC.
        machine: fact -> value, of the machine that measured.
        versions: tool -> version.
        latency_samples: trial id -> milliseconds of each timed call.
        seconds: wall time that the study has taken, over all its runs.
        warnings: what the reader must know before trusting the decision.
        preprocess: how stored items become model inputs, as the request declared it.
        fitness: of the calibration items, held against the evaluation items or a sample of production.
        convergence: how the ranges settled, where the number of calibration items was left to the study.
        plan: how many items the certificates take.
        flips: trial id -> items that broke, the worst first.
        sequential: certificates were given as soon as the items told.
        mixed_budget: what the search over mixed plans was allowed; None in records of before there was one.
        mixed: searches over mixed plans, one for each INT8 form that strained the tolerance.
        detected: what a detector finds of each class; None for other tasks.
        threshold: how the thresholds were found; None where the task's own were kept.
        lengths: how items of different lengths were run; None where all are equally long.
    """

    schema: int
    title: str
    created: str
    requirements: Requirements
    task: str
    trials: tuple[Trial, ...]
    decision: Decision
    model: ModelProvenance
    calibration: DataProvenance | None
    evaluation: DataProvenance
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    batch: int
    threads: int
    latency_samples: Mapping[str, tuple[float, ...]]
    seconds: float
    warnings: tuple[str, ...] = field(default=())
    preprocess: Preprocess | None = None
    fitness: Fitness | None = None
    convergence: Convergence | None = None
    plan: SamplePlan | None = None
    flips: Mapping[str, tuple[Flip, ...]] = field(default_factory=dict)
    sequential: bool = True
    mixed_budget: MixedBudget | None = None
    mixed: tuple[MixedSearch, ...] = ()
    detected: DetectedClasses | None = None
    threshold: ThresholdRule | None = None
    lengths: ItemLengths | None = None
