"""What a session that can be profiled promises: names of the model's own nodes, and times that add up to a call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from conformance_models import make_quantized, normal, parse_model

from assay.backends.backend import Backend
from assay.backends.table import make_target
from assay.core.errors import RunFailed
from assay.core.precision import Precision
from assay.core.session import Profiled, Session

Opener = Callable[..., Session]
NEAR = 20.0
"""Ratio between the profiled times and a call that a busy machine may give."""


def make_network(rng: np.random.Generator) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Two convolutions with a sum, large enough that a call is hardly anything else."""
    model = parse_model(
        """net (float[N,32,40,40] x) => (float[N,32,40,40] y) {
            [first] a = Conv<pads = [1, 1, 1, 1]>(x, w1)
            [clip] b = Relu(a)
            [second] c = Conv<pads = [1, 1, 1, 1]>(b, w2)
            [sum] y = Add(c, b)
        }""",
        w1=normal(rng, 32, 32, 3, 3),
        w2=normal(rng, 32, 32, 3, 3),
    )
    return model, {"x": normal(rng, 4, 32, 40, 40)}


def time_call(session: Session, feeds: dict[str, np.ndarray]) -> float:
    samples = []
    for _ in range(9):
        began = time.perf_counter_ns()
        session.run(feeds)
        samples.append((time.perf_counter_ns() - began) / 1e6)
    return statistics.median(samples)


def test_times_of_nodes_add_up_to_a_call(backend: Backend, opener: Opener, rng: np.random.Generator) -> None:
    model, feeds = make_network(rng)
    with opener(backend, model) as session:
        if not isinstance(session, Profiled):
            pytest.skip(f"{backend.name} cannot tell what nodes take")
        found = session.profile(feeds, 5)
        call_ms = time_call(session, feeds)
    total = sum(node.milliseconds for node in found)
    assert call_ms / NEAR < total < call_ms * NEAR
    origins = {origin for node in found for origin in node.origins}
    assert origins <= {"first", "clip", "second", "sum"}
    assert {"first", "second"} <= origins
    assert sum(node.milliseconds for node in found if node.origins) > 0.9 * total
    assert any("first" in node.origins and "second" not in node.origins for node in found)


def test_integer_nodes_have_origins_too(backend: Backend, opener: Opener, rng: np.random.Generator) -> None:
    dialects = backend.dialects(make_target(backend.name))
    if not dialects:
        pytest.skip(f"{backend.name} has no integers here")
    model, x, _ = make_quantized(dialects[0], rng)
    with opener(backend, model, precision=Precision.INT8) as session:
        if not isinstance(session, Profiled):
            pytest.skip(f"{backend.name} cannot tell what nodes take")
        found = session.profile({"x": x}, 3)
    origins = {origin for node in found for origin in node.origins}
    assert origins <= {node.name for node in model.graph.node}
    assert {node.name for node in model.graph.node if node.op_type in {"Conv", "Gemm"}} <= origins
    assert all(node.milliseconds >= 0 for node in found)


def test_feeds_that_do_not_fit_are_refused(backend: Backend, opener: Opener, rng: np.random.Generator) -> None:
    model, feeds = make_network(rng)
    with opener(backend, model) as session:
        if not isinstance(session, Profiled):
            pytest.skip(f"{backend.name} cannot tell what nodes take")
        with pytest.raises(RunFailed, match="x"):
            session.profile({"x": feeds["x"][:, :3]}, 2)
