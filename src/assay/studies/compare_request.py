"""What ``assay compare`` is asked, checked and complete."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from assay.backends.table import list_backends
from assay.core.errors import RequestError
from assay.core.requirements import CLASS_COLUMN, LEAST_CONFIDENCE, SliceRule, Tolerance
from assay.core.task_settings import TaskSettings
from assay.core.threshold import ThresholdRule
from assay.data.source import DataSource
from assay.studies.compose import choose_names, compose_source, require
from assay.studies.config import DataSection, StudyFile, anchor, override, read_study_file
from assay.studies.cores import count_cores
from assay.studies.decoders import compose_decoding


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """Everything that decides what a comparison does.

    Attributes:
        first: the reference, as the user named it.
        second: what is held against it.
        runtimes: of the first and of the second, where they are ``.onnx`` files.
        evaluation: labelled items.
        slices: what every slice of the items is held to, besides the whole.
        threads: compute threads.
        sequential: stop as soon as the items tell.
        output: folder for scores and results; None keeps nothing.
        settings: how the task reads the models' outputs.
        threshold: what counts as positive; the task's own where None.
        tuning_items: items that thresholds are tuned on, at least, and that nothing is compared on.
    """

    first: str
    second: str
    task: str
    tolerance: Tolerance
    evaluation: DataSource
    confidence: float = 0.95
    slices: tuple[SliceRule, ...] = ()
    runtimes: tuple[str | None, str | None] = (None, None)
    threads: int = 1
    sequential: bool = True
    output: Path | None = None
    settings: TaskSettings = field(default_factory=TaskSettings)
    threshold: ThresholdRule | None = None
    tuning_items: int | None = None

    def __post_init__(self) -> None:
        """Refuse what can never work.

        Raises:
            RequestError: naming the value.
        """
        if not LEAST_CONFIDENCE <= self.confidence < 1:
            raise RequestError(
                f"confidence {self.confidence:g} is out of range", "give 0.5 or more and less than 1, such as 0.95"
            )
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if not 1 <= self.threads <= cores:
            raise RequestError(f"threads = {self.threads}, but this machine has {cores}", f"give 1 to {cores}")
        for runtime in self.runtimes:
            choose_names("runtime", None if runtime is None else (runtime,), list_backends())


def compose_compare_request(  # noqa: PLR0913 - one argument per option
    *,
    first: str,
    second: str,
    config: Path | None,
    runtime: str | None,
    runtime_a: str | None,
    runtime_b: str | None,
    threads: int | None,
    output: Path | None,
    **flags: object,
) -> CompareRequest:
    """A request from the options over the keys of a study file.

    Args:
        first: the reference.
        second: what is held against it.
        config: the study file.
        runtime: for both, where they are ``.onnx`` files.
        runtime_a: for the first alone.
        runtime_b: for the second alone.
        threads: compute threads; all cores where None.
        output: folder for scores and results.
        flags: options that are keys of a study file, and ``full``.

    Raises:
        RequestError: an option or a key is missing or wrong.
    """
    keys = collect_keys(config, flags)
    rules = tuple(SliceRule.parse(text) for text in keys.slices or ())
    source = compose_source("evaluation", keys.evaluation, keys.preprocess)
    if source is None:
        raise RequestError("no evaluation data is named", "give --evaluation, or --config with [evaluation] path")
    columns = dict.fromkeys((*source.columns, *(rule.column for rule in rules if rule.column != CLASS_COLUMN)))
    return CompareRequest(
        first=first,
        second=second,
        task=require(keys.task, "task", "such as classification"),
        tolerance=Tolerance.parse(require(keys.tolerance, "tolerance", "such as 'top1: 0.5pp'")),
        evaluation=replace(source, columns=tuple(columns)),
        confidence=0.95 if keys.confidence is None else keys.confidence,
        slices=rules,
        runtimes=(runtime_a or runtime, runtime_b or runtime),
        threads=count_cores() if threads is None else threads,
        sequential=keys.sequential is not False,
        output=output,
        settings=TaskSettings(compose_decoding(keys)),
        threshold=None if keys.threshold is None else ThresholdRule.parse(str(keys.threshold)),
        tuning_items=keys.tuning_items,
    )


def collect_keys(config: Path | None, flags: dict[str, object]) -> StudyFile:
    """All keys of a call: the study file's, if one is given, under the options'.

    Raises:
        RequestError: the study file is wrong, naming the key.
    """
    data = flags.pop("evaluation")
    full = flags.pop("full")
    flags["slices"] = flags["slices"] or None
    evaluation = None if data is None else DataSection(path=str(data))
    above = StudyFile(evaluation=evaluation, sequential=False if full else None, **flags)  # type: ignore[arg-type] # the options have the keys' types
    return override(StudyFile() if config is None else anchor(read_study_file(config), config.parent), above)
