"""What a pair of the zoo is: a model, items to calibrate and to evaluate it, and a judge of its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from assay.core.session import Batch
from assay.core.tensor import Array, Outputs
from assay.data.source import DataSource


@dataclass(frozen=True)
class Judged:
    """What a judge keeps of a model's outputs over all items.

    Attributes:
        figures: metric -> value, the pair's own metric first; higher is better.
        kept: arrays from which two models are compared item by item.
    """

    figures: Mapping[str, float]
    kept: Mapping[str, Array]


@dataclass(frozen=True)
class Comparison:
    """A variant beside a reference on the same items.

    Attributes:
        loss_pp: of the pair's own metric, in percentage points; negative where the variant is better.
        low_pp: lower bound of the loss, one-sided 95%.
        high_pp: upper bound of the loss, one-sided 95%.
        agreement: share of the predictions that are the same; what a prediction is, is the judge's to say.
        others: further measures by name.
    """

    loss_pp: float
    low_pp: float
    high_pp: float
    agreement: float
    others: Mapping[str, float] = field(default_factory=dict)


class Judge(Protocol):
    """The pair's own way from outputs to a metric."""

    def judge(self, parts: Iterable[tuple[Outputs, Batch]]) -> Judged:
        """Figures of all items, streamed."""
        ...

    def compare(self, reference: Judged, variant: Judged) -> Comparison:
        """Two models on the same items."""
        ...


@dataclass(frozen=True)
class Pair:
    """A network with its data.

    Attributes:
        model: the ONNX file.
        batch: items per call; 1 where the model fixes it so.
        stated: metric -> FP32 value that the pair's description gives, which a run should meet.
        setting: what of the pair a reader of its figures has to know.
    """

    name: str
    model: Path
    calibration: DataSource
    evaluation: DataSource
    judge: Judge
    batch: int = 25
    stated: Mapping[str, float] = field(default_factory=dict)
    setting: str = ""


@dataclass(frozen=True)
class Places:
    """Where pairs come from and go to.

    Attributes:
        packages: folder of downloaded packages, at any depth; None where none was named.
        work: folder that the pairs' files are written to.
    """

    packages: Path | None
    work: Path

    def require_packages(self, pair: str) -> Path:
        """The folder of packages.

        Raises:
            SystemExit: none was named, or it does not exist.
        """
        if self.packages is None:
            raise SystemExit(f"{pair} is made from packages: name their folder by --packages or ASSAY_ZOO_PACKAGES")
        if not self.packages.is_dir():
            raise SystemExit(f"{self.packages} is no folder of packages")
        return self.packages

    def folder(self, pair: str) -> Path:
        """The pair's own folder, made where it is not there."""
        path = self.work / pair
        path.mkdir(parents=True, exist_ok=True)
        return path
