"""Language models: how likely the tokens of a text are, each given those before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, ModelError
from assay.core.session import Batch, Metric, Scores
from assay.core.tensor import Array, Feeds, Outputs, Signature
from assay.measure.tasks.agreement import AGREEMENT

RECORD = "likelihood"
PERPLEXITY = Metric("perplexity", higher_is_better=False, labelled=True, functional="perplexity", record=RECORD)
NEXT_TOKEN = Metric("next-token", higher_is_better=True, labelled=True)
NOT_SCORED = -1
"""Target of a token that is context or padding; every negative number is."""
NO_PREDICTION = -1
LEAST_TOKENS = 2
"""The first token of a text is given, and nothing is predicted of it."""
LOGITS = "logits"
IDS, MASK = "input_ids", "attention_mask"
SPREAD = 2_654_435_761
"""A multiplier that spreads sums of token ids (Knuth, The Art of Computer Programming 3, 6.4)."""


class LanguageModel:
    """Likelihood of each token of a text, given the tokens before it.

    The model gives logits ``[n, t, vocabulary]``: the floating-point output of this form that is named ``logits``, or
    else the first. Targets are token ids ``[n, t]``, those that were fed: the logits at one place say what comes at the
    next one, and the task shifts them. A negative target is not scored: it is padding, or context that was scored
    before. Data without targets are scored on what they feed (`make_targets`). An item may be several windows of one
    text, whose targets are ``[n, windows, t]`` and whose logits are ``[n * windows, t, vocabulary]``: it counts as one.

    ``perplexity`` is over all scored tokens. ``next-token`` is the share of an item's tokens that the model ranks
    first, averaged over the items; of equal logits the lower id ranks first. ``agreement`` is about one scored token
    of each item, at a place that the item's tokens fix: whether a variant ranks first what FP32 ranks first there. A
    token whose logits contain NaN, or +Inf, has no prediction, and its loss counts as the functional says.
    """

    name: str = "language-model"
    metrics: tuple[Metric, ...] = (PERPLEXITY, NEXT_TOKEN, AGREEMENT)

    def check(self, signature: Signature, sample: Batch, outputs: Outputs) -> None:
        """Refuse a model or data that do not fit, before anything is measured.

        Raises:
            ModelError: no output is suitable; all outputs are named with their shapes.
            DataError: the targets have another form than the logits, a token is out of the vocabulary, or an item has
                no token that is predicted.
        """
        name, logits = _select(outputs, sample.size if sample.targets is None else _count_rows(sample.targets))
        if name not in {spec.name for spec in signature.outputs}:
            raise ModelError(f"output {name!r} is not in the model's signature")
        if sample.targets is not None:
            _check_targets(sample.targets, logits.shape, sample.start)

    def score(self, outputs: Outputs, targets: Array | None) -> Scores:
        """Item scores of one batch; without targets only what follows each item's last token.

        Raises:
            ModelError: no output is suitable.
            DataError: the targets do not fit; items count from the start of the batch.
        """
        _, logits = _select(outputs, None if targets is None else _count_rows(targets))
        if targets is None:
            ends = [_predict(row[-1:].astype(np.float32)) for row in logits]
            return Scores(metrics={}, predictions=np.concatenate(ends))
        tokens = _check_targets(targets, logits.shape, start=0)
        windows = logits.reshape(len(tokens), -1, *logits.shape[1:])
        found = [_score_item(rows, own) for rows, own in zip(windows, tokens, strict=True)]
        return Scores(
            metrics={NEXT_TOKEN.name: np.array([item.hits / item.tokens for item in found])},
            predictions=np.array([item.said for item in found], np.int64),
            records={RECORD: np.array([(item.loss, item.tokens) for item in found], np.float64)},
            certainty=np.array([item.certainty for item in found]),
        )

    def make_targets(self, feeds: Feeds) -> Array | None:
        """Targets ``[n, t] int64`` out of what is fed: the token ids, but where the attention mask is 0.

        None where the feeds have no ``input_ids``.
        """
        ids, mask = feeds.get(IDS), feeds.get(MASK)
        if ids is None:
            return None
        given = np.ones(ids.shape, np.bool_) if mask is None or mask.shape != ids.shape else mask != 0
        return np.where(given, ids, NOT_SCORED).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Item:
    """What is kept of one item.

    Attributes:
        loss: summed negative log-likelihood in nats.
        tokens: how many were predicted.
        hits: those ranked first.
        said: the token ranked first at one place, or -1.
        certainty: its probability.
    """

    loss: float
    tokens: int
    hits: int
    said: int
    certainty: float


def _score_item(logits: Array, tokens: NDArray[np.int64]) -> _Item:
    """One item: ``logits [windows, t, vocabulary]``, ``tokens [windows, t]``."""
    window, place = np.nonzero(tokens[:, 1:] >= 0)
    with np.errstate(over="ignore"):
        rows = logits[window, place].astype(np.float32)
    truth = tokens[window, place + 1]
    first = _predict(rows)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        top = rows.max(axis=1)
        mass = np.exp(rows - top[:, None]).sum(axis=1, dtype=np.float64)
        losses = np.log(mass) + top - rows[np.arange(len(truth)), truth]
    chosen = _choose_place(truth)
    said = int(first[chosen])
    certainty = float(1 / mass[chosen]) if said != NO_PREDICTION else 0.0
    return _Item(float(losses.sum()), len(truth), int(np.count_nonzero(first == truth)), said, certainty)


def _choose_place(truth: NDArray[np.int64]) -> int:
    """One of an item's scored tokens, fixed by the tokens themselves: early ones and late ones over the items."""
    return int(int(truth.sum()) * SPREAD % (1 << 32) * len(truth) >> 32)


def _predict(rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """The token ranked first in each of ``[k, vocabulary]``, -1 where there is none."""
    broken = ~np.isfinite(rows.max(axis=1))  # NaN where any is
    return np.where(broken, NO_PREDICTION, np.argmax(rows, axis=1)).astype(np.int64)


def _select(outputs: Outputs, items: int | None) -> tuple[str, Array]:
    """The output with the logits ``[n, t, vocabulary]``, in its own type."""
    found = {name: value for name, value in outputs.items() if _is_logits(value, items)}
    for name, value in found.items():
        if len(found) == 1 or name == LOGITS:
            return name, value
    if found:
        return next(iter(found.items()))
    listed = ", ".join(f"{name!r} {value.dtype.name}{list(value.shape)}" for name, value in outputs.items())
    raise ModelError(
        f"no output can be read as logits [n, tokens, vocabulary]; the outputs are {listed or 'none'}",
        "a language model needs one floating-point output with a row of logits per token of each item",
    )


def _is_logits(value: Array, items: int | None) -> bool:
    # bfloat16 comes as an extension type of NumPy, whose kind is not "f".
    is_float = value.dtype.kind == "f" or value.dtype.name == "bfloat16"
    return is_float and value.ndim == 3 and value.size > 0 and items in (None, len(value))  # noqa: PLR2004 - item, token, logit


def _count_rows(targets: Array) -> int:
    """Rows of logits that targets are for."""
    return len(targets) if targets.ndim < 3 else len(targets) * targets.shape[1]  # noqa: PLR2004 - item, window, token


def _check_targets(targets: Array, shape: tuple[int, ...], start: int) -> NDArray[np.int64]:
    """Targets as ``[n, windows, t] int64``."""
    if targets.dtype.kind not in "iu":
        raise DataError(f"targets have the type {targets.dtype.name}", "give token ids as int64 [n, tokens]")
    if targets.ndim not in (2, 3) or (_count_rows(targets), targets.shape[-1]) != shape[:2]:
        message = f"targets from item {start} on have the shape {list(targets.shape)}, the logits {list(shape)}"
        raise DataError(message, "give one token id for each token that is fed, and -1 for what is not scored")
    tokens = targets.astype(np.int64).reshape(len(targets), -1, targets.shape[-1])
    vocabulary = shape[2]
    beyond = np.argwhere(tokens >= vocabulary)
    if len(beyond):
        item, window, place = (int(index) for index in beyond[0])
        told = tokens[item, window, place]
        message = f"token {place} of item {start + item} is {told}, out of a vocabulary of {vocabulary}"
        raise DataError(message, "is the tokenizer the model's own?")
    empty = np.flatnonzero(~(tokens[:, :, 1:] >= 0).any(axis=(1, 2)))
    if empty.size:
        message = f"item {start + int(empty[0])} has no token that is predicted"
        raise DataError(message, f"leave out texts of fewer than {LEAST_TOKENS} tokens")
    return tokens
