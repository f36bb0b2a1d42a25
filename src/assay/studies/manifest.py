"""The manifest of a release: what is in the folder, where it came from, and what was shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.core.decision import Decision
from assay.core.requirements import Requirements
from assay.core.target import Target
from assay.core.threshold import ThresholdRule
from assay.core.trial import Trial
from assay.data.source import Preprocess
from assay.studies.record import DataProvenance, ModelProvenance

MANIFEST_SCHEMA = 1
MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class ReleasedArtifact:
    """One artifact of the chain.

    Attributes:
        trial: with its plan and all its evidence.
        folder: relative to the release.
        target: what it was measured on.
    """

    trial: Trial
    folder: str
    target: Target


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a release says of itself.

    Attributes:
        artifacts: the chosen one first, then its fallbacks in order; the last one is FP32.
        files: path relative to the release -> SHA-256, of every file but the manifest and its digest.
        preprocess: how stored arrays become model inputs, as the study declared it.
        threshold: how the thresholds of the artifacts' trials were found; None where the task's own are kept.
    """

    schema: int
    created: str
    assay: str
    title: str
    task: str
    requirements: Requirements
    decision: Decision
    artifacts: tuple[ReleasedArtifact, ...]
    model: ModelProvenance
    calibration: DataProvenance | None
    evaluation: DataProvenance
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    files: Mapping[str, str]
    preprocess: Preprocess | None = None
    warnings: tuple[str, ...] = field(default=())
    threshold: ThresholdRule | None = None
