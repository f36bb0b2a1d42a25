"""The language-model task: likelihood per token, what is ranked first, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from scipy.special import log_softmax

from assay.core.errors import DataError, ModelError
from assay.core.session import Batch
from assay.core.tensor import Signature, TensorSpec
from assay.measure.functionals.perplexity import Perplexity
from assay.measure.tasks.language_model import NEXT_TOKEN, RECORD, LanguageModel
from assay.measure.tasks.table import load_task

SIGNATURE = Signature(
    (TensorSpec("input_ids", "int64", ("n", "t")),), (TensorSpec("logits", "float32", ("n", "t", 11)),)
)
TASK = LanguageModel()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def make(rng: np.random.Generator, items: int = 4, length: int = 7) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(items, length, 11)).astype(np.float32) * 3, rng.integers(0, 11, (items, length))


def test_score_likelihood_of_shifted_tokens(rng: np.random.Generator) -> None:
    logits, ids = make(rng)
    scores = TASK.score({"logits": logits}, ids)
    each = np.take_along_axis(log_softmax(logits[:, :-1].astype(np.float64), axis=-1), ids[:, 1:, None], axis=-1)
    np.testing.assert_allclose(scores.records[RECORD][:, 0], -each.sum(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(scores.records[RECORD][:, 1], 6)
    hits = (logits[:, :-1].argmax(axis=-1) == ids[:, 1:]).mean(axis=1)
    np.testing.assert_allclose(scores.metrics[NEXT_TOKEN.name], hits)


def test_score_leaves_out_context_and_padding(rng: np.random.Generator) -> None:
    logits, ids = make(rng)
    targets = ids.copy()
    targets[:, :3], targets[:, 6] = -1, -1
    changed = logits.copy()
    changed[:, [0, 1, 5, 6]] = 99.0
    first, second = (TASK.score({"logits": one}, targets) for one in (logits, changed))
    np.testing.assert_array_equal(first.records[RECORD][:, 1], 3)
    np.testing.assert_array_equal(first.records[RECORD], second.records[RECORD])
    np.testing.assert_array_equal(first.predictions, second.predictions)


def test_prediction_is_the_first_ranked_token_at_a_scored_place(rng: np.random.Generator) -> None:
    logits, ids = make(rng, items=60)
    targets = np.where(np.arange(7) < 4, -1, ids)
    scores = TASK.score({"logits": logits}, targets)
    ranked = logits[:, 3:6].argmax(axis=-1)
    shares = np.exp(log_softmax(logits[:, 3:6].astype(np.float64), axis=-1)).max(axis=-1)
    told = (scores.predictions[:, None] == ranked) & np.isclose(scores.certainty[:, None], shares, rtol=1e-5)
    assert (told.sum(axis=1) == 1).all()
    assert set(told.argmax(axis=1)) == {0, 1, 2}


def test_broken_logits_count_as_the_worst_loss(rng: np.random.Generator) -> None:
    logits, ids = make(rng)
    logits[1] = np.nan
    scores = TASK.score({"logits": logits}, ids)
    assert scores.predictions[1] == -1
    assert scores.metrics[NEXT_TOKEN.name][1] == 0
    value = Perplexity().value(scores.records[RECORD])
    assert np.isfinite(value)
    assert value > np.exp(50 / 4)


def test_float16_and_bfloat16_logits(rng: np.random.Generator) -> None:
    logits, ids = make(rng)
    wanted = TASK.score({"logits": logits}, ids).records[RECORD][:, 0]
    for dtype in (np.float16, ml_dtypes.bfloat16):
        found = TASK.score({"logits": logits.astype(dtype)}, ids).records[RECORD][:, 0]
        np.testing.assert_allclose(found, wanted, rtol=0.02)


def test_select_takes_the_output_named_logits(rng: np.random.Generator) -> None:
    logits, ids = make(rng)
    hidden, cache = rng.normal(size=(4, 7, 16)).astype(np.float32), np.zeros((4, 2, 7, 8), np.float32)
    outputs = {"hidden": hidden, "present.0.key": cache, "logits": logits}
    alone = TASK.score({"logits": logits}, ids)
    np.testing.assert_array_equal(TASK.score(outputs, ids).records[RECORD], alone.records[RECORD])


def test_windows_of_one_text_are_one_item(rng: np.random.Generator) -> None:
    logits, ids = make(rng, items=6)
    apart = TASK.score({"logits": logits}, ids)
    together = TASK.score({"logits": logits}, ids.reshape(2, 3, 7))
    assert len(together) == 2
    np.testing.assert_allclose(together.records[RECORD], apart.records[RECORD].reshape(2, 3, 2).sum(axis=1))
    hits = apart.metrics[NEXT_TOKEN.name].reshape(2, 3).mean(axis=1)
    np.testing.assert_allclose(together.metrics[NEXT_TOKEN.name], hits)


def test_targets_are_what_is_fed(rng: np.random.Generator) -> None:
    _, ids = make(rng)
    mask = np.ones_like(ids)
    mask[2, 5:] = 0
    targets = TASK.make_targets({"input_ids": ids, "attention_mask": mask})
    assert targets is not None
    np.testing.assert_array_equal(targets, np.where(mask == 1, ids, -1))
    assert TASK.make_targets({"tokens": ids}) is None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: np.where(t == t[1, 2], 11, t), "out of a vocabulary of 11"),
        (lambda t: np.where(np.arange(7) > 0, -1, t), "item 20 has no token that is predicted"),
        (lambda t: t[:, :5], "the logits"),
        (lambda t: t.astype(np.float32), "type float32"),
    ],
)
def test_check_refuses(rng: np.random.Generator, spoil: Callable[[np.ndarray], np.ndarray], words: str) -> None:
    logits, ids = make(rng)
    batch = Batch({"input_ids": ids}, spoil(ids), start=20)
    with pytest.raises(DataError, match=words):
        TASK.check(SIGNATURE, batch, {"logits": logits})


def test_check_refuses_a_model_without_logits_per_token() -> None:
    batch = Batch({"input_ids": np.zeros((4, 7), np.int64)}, None, start=0)
    with pytest.raises(ModelError, match=r"'pooled' float32\[4, 11\]"):
        TASK.check(SIGNATURE, batch, {"pooled": np.zeros((4, 11), np.float32)})


def test_table_has_the_task() -> None:
    assert load_task("language-model").metrics[0].name == "perplexity"
