"""Running a model over a pair's evaluation items: what the judge says, and the outputs' distance from FP32's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from assay.core.session import Batch, Dataset
from assay.core.tensor import Array, Feeds, Outputs
from zoo.pair import Judged, Pair

Run = Callable[[Feeds], Outputs]

COMPARED_ITEMS = 100
"""Items whose outputs are kept and compared value by value."""


@dataclass
class Evaluated:
    """Everything of one model over the evaluation items.

    Attributes:
        outputs: name -> of the first items, kept to measure the distance of others.
    """

    judged: Judged
    outputs: Mapping[str, Array] = field(default_factory=dict)

    def measure_sqnr(self, reference: Evaluated) -> dict[str, float]:
        """Output -> signal-to-quantization-noise ratio in dB; infinite where nothing differs."""
        return {name: to_decibels(reference.outputs[name], values) for name, values in self.outputs.items()}


def to_decibels(reference: Array, values: Array) -> float:
    """``10 log10`` of the energy of the reference over that of the difference."""
    signal = np.asarray(reference, np.float64)
    noise = float(np.square(values - signal).sum())
    return float("inf") if noise == 0 else float(10 * np.log10(np.square(signal).sum() / noise))


def evaluate(pair: Pair, dataset: Dataset, run: Run) -> Evaluated:
    """Run every item and judge."""
    parts: dict[str, list[Array]] = {}

    def stream() -> Iterator[tuple[Outputs, Batch]]:
        for batch in dataset.batches(pair.batch):
            outputs = run(batch.feeds)
            if batch.start < COMPARED_ITEMS:
                for name, values in outputs.items():
                    parts.setdefault(name, []).append(np.array(values))
            yield outputs, batch

    judged = pair.judge.judge(stream())
    return Evaluated(judged, {name: np.concatenate(arrays) for name, arrays in parts.items()})
