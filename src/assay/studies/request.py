"""What a study is asked to do, checked and complete."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from assay.core.errors import RequestError
from assay.core.generation import DEFAULT_CONTEXT, GenerationPlan
from assay.core.mixing import MixedBudget
from assay.core.precision import STANDARD_PRECISIONS, Precision, RangeMethod, Repair
from assay.core.requirements import Requirements
from assay.core.task_settings import TaskSettings
from assay.core.threshold import ThresholdRule
from assay.data.source import DataSource
from assay.measure.tasks.table import name_scored
from assay.studies.isolation import Limits

DEFAULT_RUNTIMES = ("onnxruntime", "openvino")
LEAST_MEMORY = 64 << 20
DEFAULT_RANGES = (RangeMethod.MSE, RangeMethod.MIN_MAX)


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """Everything that decides what a study does.

    Attributes:
        model: the ONNX file.
        output: the study's folder.
        calibration: items that INT8 ranges are solved from; without them INT8 is tried where matrix products hold most
            of the model, with weights that need none.
        evaluation: labelled items that quality is measured on.
        runtimes: names in the table of backends, in order of preference.
        precisions: formats to try; FP32 is always measured, as the reference.
        batch: items per call at which latency is measured.
        threads: compute threads of the deployment.
        repairs: what may be done to a model that INT8 damages.
        calibration_items: so many calibration items are used, where there are as many; None for as many as the
            ranges need to converge.
        production: a sample of what the model will be served, which the calibration items are judged against; the
            evaluation items where None.
        accept_unfit: build INT8 from calibration items that are judged unfit, too.
        sequential: certify only until the items tell; all items where False.
        accept_unresolvable: go on with too few items for the tolerance.
        latency_seconds: budget of the interleaved latency measurement.
        trial_seconds: what gives no answer for longer, building or running, fails its trial.
        trial_memory: bytes that the process of a trial may take; None for a safe share of what is free.
        mixed: what the search over mixed plans may take.
        generation: where a language model's generation is measured.
        settings: how the task reads the model's outputs.
        device: the device profile in words, where constraints are from one.
        threshold: what counts as positive; the task's own where None.
        build_for: devices that are not here (``sm75``), which the runtimes that can build for without measuring.
        tuning_items: evaluation items that thresholds are tuned on, at least; they are search items, too. None for
            as many as a study searches with.
    """

    model: Path
    output: Path
    task: str
    evaluation: DataSource
    requirements: Requirements
    calibration: DataSource | None = None
    runtimes: tuple[str, ...] = DEFAULT_RUNTIMES
    precisions: tuple[Precision, ...] = STANDARD_PRECISIONS
    ranges: tuple[RangeMethod, ...] = DEFAULT_RANGES
    batch: int = 1
    threads: int = 1
    repairs: tuple[Repair, ...] = tuple(Repair)
    calibration_items: int | None = None
    production: DataSource | None = None
    accept_unfit: bool = False
    sequential: bool = True
    accept_unresolvable: bool = False
    latency_seconds: float = 60.0
    trial_seconds: float = 600.0
    trial_memory: int | None = None
    mixed: MixedBudget = field(default_factory=MixedBudget)
    generation: GenerationPlan = field(default_factory=GenerationPlan)
    title: str = ""
    settings: TaskSettings = field(default_factory=TaskSettings)
    device: str = ""
    threshold: ThresholdRule | None = None
    tuning_items: int | None = None
    build_for: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what can never work.

        Raises:
            RequestError: naming the key and its value.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        counts = {
            "batch": self.batch,
            "threads": self.threads,
            "calibration.items": self.calibration_items,
            "tuning_items": self.tuning_items,
        }
        for key, value in counts.items():
            if value is not None and value < 1:
                raise RequestError(f"{key} = {value} is not positive", "give 1 or more")
        if self.threads > cores:
            raise RequestError(f"threads = {self.threads}, but this machine has {cores}", f"give at most {cores}")
        for key, seconds in (("latency_seconds", self.latency_seconds), ("trial_seconds", self.trial_seconds)):
            if not seconds > 0:
                raise RequestError(f"{key} = {seconds} is not positive", "give a number of seconds")
        if self.trial_memory is not None and self.trial_memory < LEAST_MEMORY:
            message = f"trial_memory = {self.trial_memory} bytes is less than a runtime takes to open"
            raise RequestError(message, "give 256MiB or more, or leave it out")
        if not self.runtimes:
            raise RequestError("no runtime is named", "name one or more, such as --runtimes onnxruntime,openvino")
        if len(set(self.runtimes)) < len(self.runtimes):
            raise RequestError(f"a runtime is named twice: {', '.join(self.runtimes)}", "name each once")

    @property
    def limits(self) -> Limits:
        """What a process of a trial may take."""
        return Limits(self.trial_seconds, self.trial_memory)

    def measurement_key(self, model_sha256: str, calibration: str, evaluation: str, environment: str) -> str:
        """Content address of all that the measurements depend on; requirements are not part of it.

        Args:
            model_sha256: content hash of the model.
            calibration: fingerprint of the calibration data.
            evaluation: fingerprint of the evaluation data.
            environment: machine and tool versions.

        So a new tolerance, constraint or objective is decided from stored trials, without new inference.
        """
        parts = (
            model_sha256,
            calibration,
            evaluation,
            self.evaluation.target,
            environment,
            name_scored(self.task, self.requirements.tolerance.metric),
            self.runtimes,
            sorted(self.precisions),
            sorted(self.ranges),
            sorted(self.repairs),
            self.batch,
            self.threads,
            self.calibration_items,
            self.latency_seconds,
            *(() if self.settings == TaskSettings() else (self.settings,)),
            *(() if self.tuning_items is None else (self.tuning_items,)),
            *(("build for", self.build_for) if self.build_for else ()),
            *(() if self.generation.context == DEFAULT_CONTEXT else (self.generation.context,)),
        )
        return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
