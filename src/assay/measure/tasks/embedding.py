"""Embedding: a vector per text, held against the reference's own, against ratings of pairs, or by what it retrieves."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, ModelError, RequestError
from assay.core.session import Batch, Metric, Scores
from assay.core.task_settings import TaskSettings
from assay.core.tensor import Array, Outputs, Signature
from assay.measure.tasks.agreement import COSINE, EMBEDDING, compare_vectors
from assay.measure.tasks.ranking import MRR, NDCG10, RECALL10, TIED, Ranking
from assay.measure.tasks.regression import RECORD as PAIRS
from assay.measure.tasks.regression import SPEARMAN

RECALL1 = Metric("recall@1", higher_is_better=True, labelled=True)
SCORES = "similarities"
TOKEN_AXES = 3


class Embedding:
    """A vector of each text.

    The first floating-point output ``[rows, d]`` is taken; where there is only one of token states ``[rows, t, d]``,
    its mean over the tokens that the input named like a mask has ones for. An item is one text, or several, each in a
    row of its own:

    - one text: ``cosine`` with the reference's vector of the same text.
    - two, with a rating ``[n]``: also ``spearman`` of their cosine with the ratings.
    - a query and its candidates, with relevances ``[n, candidates]``: also ``recall@1``, ``recall@10``, ``mrr`` and
      ``ndcg@10`` of the candidates in the order of their cosine with the query; conventions as in ``ranking``.

    A vector of zeros, or with a NaN or infinity, has the cosine 0 with every other one; a negative cosine with the
    reference counts as 0.
    """

    name: str = "embedding"
    metrics: tuple[Metric, ...] = (COSINE, SPEARMAN, RECALL1, RECALL10, MRR, NDCG10, TIED)

    def __init__(self, mask: str = "") -> None:
        self.needs: tuple[str, ...] = (mask,) if mask else ()

    @property
    def reading(self) -> str:
        """How outputs are read: over which mask token states would be pooled."""
        return f"pooled over {self.needs[0]}" if self.needs else ""

    def fit(self, settings: TaskSettings, signature: Signature) -> Self:
        """The task for a model: it learns which input is the mask.

        Raises:
            RequestError: a decoder is asked for.
        """
        if settings.decoding is not None:
            raise RequestError(f"task {self.name!r} takes no decoder", "decoders are for task = 'detection'")
        masks = [spec.name for spec in signature.inputs if "mask" in spec.name.lower()]
        return type(self)(masks[0] if len(masks) == 1 else "")

    def check(self, signature: Signature, sample: Batch, outputs: Outputs) -> None:
        """Refuse a model or data that do not fit, before anything is measured.

        Raises:
            ModelError: no output is suitable; all outputs are named with their shapes.
            DataError: ratings or relevances are missing, or do not fit the texts of an item.
        """
        del signature
        vectors = self._select(outputs)
        if len(vectors) != sample.size * sample.rows:
            raise ModelError(f"the model gives {len(vectors)} vectors for {sample.size * sample.rows} texts")
        if sample.targets is None and sample.rows > 1:
            raise DataError(
                f"an item has {sample.rows} texts and no label",
                "give a rating for each pair, or a relevance for each candidate, as target",
            )
        if sample.targets is not None:
            self.score(outputs, sample.targets)

    def score(self, outputs: Outputs, targets: Array | None) -> Scores:
        """Item scores of one batch; without targets every row is an item.

        Raises:
            ModelError: no output is suitable.
            DataError: the labels do not fit the texts of an item.
        """
        vectors = self._select(outputs)
        items = len(vectors) if targets is None else len(targets)
        rows = len(vectors) // max(1, items)
        if items * rows != len(vectors):
            raise DataError(f"{len(vectors)} texts do not divide among {items} labels", "give every item as many texts")
        grouped = vectors.reshape(items, rows, -1)
        records = {EMBEDDING: vectors.reshape(items, -1)}
        predictions = np.argmax(np.abs(np.nan_to_num(grouped[:, 0])), axis=1).astype(np.int64)
        if targets is None or rows == 1:
            return Scores(metrics={}, predictions=predictions, records=records)
        similar = compare_vectors(grouped[:, :1], grouped[:, 1:])
        if targets.reshape(items, -1).shape[1] == rows - 1 > 1:
            ranked = _make_ranking().score({SCORES: similar}, targets)
            return Scores(ranked.metrics, ranked.predictions, records)
        if rows != 2 or targets.size != items or targets.dtype.kind not in "iubf":  # noqa: PLR2004 - the texts of a pair
            shape = list(targets.shape)
            raise DataError(
                f"labels of the shape {shape} for items of {rows} texts",
                "give one rating to a pair of texts, or a query a relevance for each of its candidates",
            )
        records[PAIRS] = np.stack([similar[:, 0], targets.reshape(-1).astype(np.float64)], axis=1)
        return Scores(metrics={}, predictions=predictions, records=records)

    def _select(self, outputs: Outputs) -> NDArray[np.float64]:
        """The vectors, ``[rows, d] float64``."""
        states: Array | None = None
        for value in outputs.values():
            # bfloat16 comes as an extension type of NumPy, whose kind is not "f".
            if value.dtype.kind != "f" and value.dtype.name != "bfloat16":
                continue
            if value.ndim == 2 and value.shape[1] > 1:  # noqa: PLR2004 - rows and numbers
                return value.astype(np.float64)
            states = value if states is None and value.ndim == TOKEN_AXES else states
        mask = outputs.get(self.needs[0]) if self.needs else None
        if states is not None and mask is not None and mask.shape == states.shape[:2]:
            present = (mask != 0).astype(np.float64)[..., np.newaxis]
            pooled: NDArray[np.float64] = (states.astype(np.float64) * present).sum(1) / np.maximum(present.sum(1), 1)
            return pooled
        found = ", ".join(f"{name!r} {value.dtype.name}{list(value.shape)}" for name, value in outputs.items())
        raise ModelError(
            f"no output can be read as a vector per text [rows, d]; the outputs are {found or 'none'}",
            "token states [rows, tokens, d] are pooled where one input is named like a mask",
        )


def _make_ranking() -> Ranking:
    """The task that ranks candidates, with the metrics that are listed here."""
    ranking = Ranking()
    ranking.metrics = (RECALL1, RECALL10, MRR, NDCG10, TIED)
    return ranking
