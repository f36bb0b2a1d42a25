"""Feeds of prompts and steps, held against a model that runs: a step goes on where a prompt ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from decoder_samples import write_decoder

from assay.backends.table import load_backend
from assay.core.decoder import read_decoder
from assay.core.errors import RequestError, RunFailed
from assay.core.generation import GenerationPlan
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Binding
from assay.core.target import Target
from assay.data.open import open_dataset
from assay.data.source import DataSource
from assay.graph.ingest import load_model
from assay.graph.signature import describe_signature
from assay.studies.decoding import Speaker, find_speaker, list_points, measure_cache
from assay.studies.held import HeldSession

CONTEXT = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("decoder") / "model.onnx"
    write_decoder(path, np.random.default_rng(1))
    return path


@pytest.fixture(scope="module")
def speaker(model: Path) -> Speaker:
    np.savez(model.parent / "ids.npz", input_ids=np.arange(40)[np.newaxis])
    signature = describe_signature(load_model(model))
    found = find_speaker(signature, open_dataset(DataSource(str(model.parent / "ids.npz")), signature))
    assert found is not None
    assert found.decoder is not None
    return found


def test_a_step_goes_on_where_a_prompt_ends(model: Path, speaker: Speaker) -> None:
    session = onnxruntime.InferenceSession(str(model))
    names = [output.name for output in session.get_outputs()]
    whole = speaker.make_prompt(CONTEXT + 1, 2)
    prompt = {**whole, **{name: whole[name][:, :CONTEXT] for name in ("input_ids", "attention_mask", "position_ids")}}
    wanted = session.run(["logits"], whole)[0][:, -1]
    outputs = dict(zip(names, session.run(names, prompt), strict=True))
    step = dict(speaker.make_step(CONTEXT, 2) or {})
    step["input_ids"] = whole["input_ids"][:, -1:]
    assert speaker.decoder is not None
    for cache in speaker.decoder.caches:
        assert step[cache.past.name].shape == outputs[cache.present].shape
        step[cache.past.name] = outputs[cache.present]
    np.testing.assert_allclose(session.run(["logits"], step)[0][:, 0], wanted, atol=1e-4)


def test_texts_of_a_batch_differ(speaker: Speaker) -> None:
    ids = speaker.make_prompt(50, 3)["input_ids"]
    assert ids.shape == (3, 50)
    assert len({tuple(row) for row in ids.tolist()}) == 3


def test_the_cache_takes_what_its_numbers_take(speaker: Speaker) -> None:
    # two layers, keys and values, two heads of 8, four bytes each
    assert measure_cache(speaker.decoder, speaker.make_step(CONTEXT, 3)) == 3 * CONTEXT * 2 * 2 * 2 * 8 * 4


def test_without_a_cache_there_are_prompts_alone(model: Path, speaker: Speaker, tmp_path: Path) -> None:
    proto = onnx.load(model)
    del proto.graph.output[1:]
    plain = Speaker(describe_signature(load_model(model)), None, speaker.tokens)
    assert plain.make_step(CONTEXT, 1) is None
    assert plain.make_prompt(CONTEXT, 1)["input_ids"].shape == (1, CONTEXT)
    onnx.save(proto, tmp_path / "cut.onnx")
    assert read_decoder(describe_signature(load_model(tmp_path / "cut.onnx"))) is None


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_held_call_runs_without_giving_anything_back(
    model: Path, speaker: Speaker, runtime: str, tmp_path: Path
) -> None:
    backend, target = load_backend(runtime), Target(runtime=runtime)
    backend.build(model, tmp_path, Plan(Precision.FP32), target)
    feeds = dict(speaker.make_step(CONTEXT, 1) or {})
    with backend.open(tmp_path, target) as session:
        assert isinstance(session, Binding)
        held = HeldSession(session, feeds)
        assert held.run({}) == {}
        assert list(held.stream([{}, {}])) == [{}, {}]
        assert session.run(feeds)["logits"].shape == (1, 1, 49)
        with pytest.raises(RunFailed, match="attention_mask"):
            session.bind({**feeds, "attention_mask": np.ones((1, 3), np.int32)})()


def test_points_with_fewer_tokens_come_first() -> None:
    assert list(list_points((8, 64), (1, 16))) == [(8, 1), (64, 1), (8, 16), (64, 16)]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"contexts": ()}, "contexts is empty"),
        ({"contexts": (64, 8)}, r"contexts is \[64, 8\]"),
        ({"batches": (0,)}, r"batches is \[0\]"),
        ({"seconds": 0.0}, "seconds is 0"),
    ],
)
def test_a_plan_refuses_impossible_numbers(keys: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        GenerationPlan(**keys)  # type: ignore[arg-type] # wrong on purpose
