"""Everything that a study holds open while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from assay.backends.backend import Backend, ShapedBackend
from assay.backends.table import make_target
from assay.core.fitness import Fitness
from assay.core.plan import Candidate
from assay.core.session import Dataset, Metric, Task
from assay.core.target import ServingMode, ShapeRange, Target
from assay.core.tensor import Feeds
from assay.studies.calibrating import Calibrator
from assay.studies.cores import count_cores
from assay.studies.decoding import Speaker
from assay.studies.elsewhere import Elsewhere
from assay.studies.judging import find_refusal
from assay.studies.progress import Progress
from assay.studies.request import StudyRequest
from assay.studies.scoring_batch import SCORING_BATCH, take_longest
from assay.studies.shapes import find_shapes
from assay.studies.split import Split
from assay.studies.store import StudyStore
from assay.studies.subject import Subject
from assay.studies.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Workspace:
    """What every step of a study needs.

    Attributes:
        backends: the runtimes that are available here, by name, in the order of the request.
        missing: runtime -> why it is not available.
        evaluation: labelled items.
        split: which evaluation items are for searching and which for certifying, and in what order.
        calibrator: observes the activations; None where no plan needs them.
        fitness: of the calibration items; None where there are none.
        sample: feeds of one call at the study's batch; of the median length where items differ in it.
        versions: of Assay and what it stands on.
        scoring_items: items of a call while scoring, where the model does not fix their number.
        speaker: the language model with some of its tokens; None where the model is something else.
        elsewhere: what is built for devices that are not here.
        traffic: calls as they come, where items differ in length; None where any call is like another.
    """

    request: StudyRequest
    progress: Progress
    store: StudyStore
    subject: Subject
    task: Task
    metric: Metric
    backends: Mapping[str, Backend]
    missing: Mapping[str, str]
    evaluation: Dataset
    split: Split
    calibrator: Calibrator | None
    fitness: Fitness | None
    sample: Feeds
    versions: Mapping[str, str]
    traffic: Traffic | None = None
    speaker: Speaker | None = None
    scoring_items: int = SCORING_BATCH
    elsewhere: tuple[Elsewhere, ...] = ()

    @property
    def calls(self) -> tuple[Feeds, ...]:
        """What latency and throughput are measured with, in this order."""
        return (self.sample,) if self.traffic is None else self.traffic.calls

    @property
    def held(self) -> bool:
        """Whether what is timed is one step of a language model, whose cache stays in the runtime."""
        return self.speaker is not None and self.speaker.decoder is not None

    @property
    def refusal(self) -> str:
        """Why no form may be built from the calibration items; empty where they may be used."""
        return find_refusal(self.fitness, accepted=self.request.accept_unfit)

    @property
    def shapes(self) -> tuple[ShapeRange, ...]:
        """Of the inputs, for runtimes that build for them; none where texts grow from call to call."""
        if self.speaker is not None:
            return ()
        longest = take_longest(self.evaluation)
        return find_shapes(self.subject.signature, self.calls, longest, self.scoring_items)

    def target(self, runtime: str, mode: ServingMode = ServingMode.LATENCY) -> Target:
        """The deployment that is measured."""
        return make_target(runtime, threads=self.request.threads, batch=self.request.batch, mode=mode)

    def build_target(self, candidate: Candidate) -> Target:
        """The deployment that a candidate is built for, also where its device is not here."""
        target = self.target(candidate.runtime)
        if candidate.device:
            target = replace(target, device=candidate.device)
        backend = self.find_backend(candidate)
        shaped = isinstance(backend, ShapedBackend) and backend.shaped
        return replace(target, shapes=self.shapes) if shaped else target

    def find_backend(self, candidate: Candidate) -> Backend:
        """The runtime that builds a candidate."""
        if not candidate.device:
            return self.backends[candidate.runtime]
        return self.find_elsewhere(candidate).backend

    def find_elsewhere(self, candidate: Candidate) -> Elsewhere:
        """What a candidate for a device that is not here is built by."""
        places = {(one.runtime, one.device): one for one in self.elsewhere}
        return places[candidate.runtime, candidate.device]

    def scoring_target(self, runtime: str) -> Target:
        """The same runtime with all cores, for scoring items; threads do not change what is computed."""
        return make_target(runtime, threads=count_cores(), batch=self.scoring_batch)

    @property
    def title(self) -> str:
        """Heading of the report."""
        return self.request.title or f"{self.request.model.stem}: {self.request.task}"

    @property
    def scoring_batch(self) -> int:
        """Items per call while scoring."""
        return self.subject.fixed_batch or self.scoring_items
