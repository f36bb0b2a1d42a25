"""A decoder with a key-value cache as its inputs, in every form of INT8: what it loses, and what repairs give back."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from decoder_samples import load_graph
from graph_samples import run
from quantize_samples import U8S8, measure_sqnr
from repair_samples import observe

from assay.calibrate.ranges import solve_ranges
from assay.core.plan import Plan, Scheme, WeightScheme
from assay.core.precision import Placement, Precision, RangeMethod, Repair, WeightStyle
from assay.graph.prepare import prepare
from assay.graph.realise import realise
from assay.graph.repair import RESCALING, repair_model
from assay.studies.subject import find_traits

HIDDEN, INNER, WORDS, LOUD = 64, 128, 300, 20.0


@pytest.fixture(scope="module")
def decoder() -> ir.Model:
    """Two layers whose norms make every sixteenth channel loud, as language models do; later weights undo it."""
    rng = np.random.default_rng(0)
    graph = load_graph()
    sizes = graph.Configuration(2, HIDDEN, INNER, 4, 2, 16, WORDS, 64, 1e4, 1e-5)
    loud = np.ones(HIDDEN)
    loud[::16] = LOUD
    weights = {"token_embd.weight": rng.normal(0, 1, (WORDS, HIDDEN)), "output_norm.weight": loud}
    weights["output.weight"] = rng.normal(0, HIDDEN**-0.5, (WORDS, HIDDEN)) / loud
    shapes = {"attn_q": HIDDEN, "attn_k": 32, "attn_v": 32, "ffn_gate": INNER, "ffn_up": INNER}
    for layer in (f"blk.{number}" for number in range(2)):
        weights |= {f"{layer}.{norm}.weight": loud for norm in ("attn_norm", "ffn_norm")}
        for name, rows in shapes.items():
            weights[f"{layer}.{name}.weight"] = rng.normal(0, HIDDEN**-0.5, (rows, HIDDEN)) / loud
        weights[f"{layer}.attn_output.weight"] = rng.normal(0, HIDDEN**-0.5, (HIDDEN, HIDDEN))
        weights[f"{layer}.ffn_down.weight"] = rng.normal(0, INNER**-0.5, (HIDDEN, INNER))
    proto = graph.build_decoder(sizes, {name: value.astype(np.float32) for name, value in weights.items()})
    return prepare(ir.from_proto(proto))


def draw(past: int, length: int, seed: int) -> dict[str, np.ndarray]:
    """Feeds of two sequences behind a past of random keys and values."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, np.ndarray] = {
        "input_ids": rng.integers(0, WORDS, (2, length)),
        "attention_mask": np.ones((2, past + length), np.int64),
        "position_ids": np.tile(np.arange(past, past + length), (2, 1)),
    }
    for layer in range(2):
        for part in ("key", "value"):
            feeds[f"past_key_values.{layer}.{part}"] = rng.normal(0, 1, (2, 2, past, 16)).astype(np.float32)
    return feeds


def rate(decoder: ir.Model, model: ir.Model, past: int, length: int) -> float:
    """Signal to noise of the logits, in dB."""
    feeds = draw(past, length, 7)
    return measure_sqnr(run(decoder, feeds, ["logits"])[0], run(model, feeds, ["logits"])[0])


def quantize(decoder: ir.Model, *repairs: Repair) -> ir.Model:
    """Static INT8 with repairs, calibrated on sequences without a past."""
    scheme = Scheme(U8S8, Placement.OPERANDS, RangeMethod.MIN_MAX, repairs)
    base = observe(decoder, draw(0, 24, 1))
    wanted = [repair for repair in RESCALING if repair in repairs]
    model = repair_model(decoder, wanted, base) if wanted else decoder
    calibration = observe(model, draw(0, 24, 1))
    return realise(model, Plan(Precision.INT8, scheme=scheme), calibration, solve_ranges(calibration, scheme))


@pytest.mark.parametrize("past", [0, 9])
def test_smoothing_helps_a_decoder_with_and_without_a_past(decoder: ir.Model, past: int) -> None:
    plain, smoothed = quantize(decoder), quantize(decoder, Repair.SMOOTH)
    assert rate(decoder, smoothed, past, 5) > rate(decoder, plain, past, 5) + 3


@pytest.mark.parametrize(("past", "length"), [(0, 24), (9, 1)])
def test_weights_alone_lose_least_and_4_bits_most(decoder: ir.Model, past: int, length: int) -> None:
    forms = {
        "weights": Plan(Precision.INT8, weights=WeightScheme(WeightStyle.WEIGHTS, tables=True)),
        "dynamic": Plan(Precision.INT8, weights=WeightScheme(WeightStyle.DYNAMIC, tables=True)),
        "narrow": Plan(Precision.INT4, weights=WeightScheme(WeightStyle.WEIGHTS, block=32)),
    }
    rated = {name: rate(decoder, realise(decoder, plan), past, length) for name, plan in forms.items()}
    assert rated["weights"] > 24
    assert rated["weights"] > rated["dynamic"] + 1
    assert rated["narrow"] < rated["weights"] - 10


def test_a_decoder_is_worth_weights_in_integers(decoder: ir.Model) -> None:
    traits = find_traits(decoder)
    assert traits.has_products
    assert traits.has_tables
    assert Repair.SMOOTH in traits.repairs
