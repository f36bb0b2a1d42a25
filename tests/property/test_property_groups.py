import numpy as np
from graph_samples import fill, run
from hypothesis import given, settings
from hypothesis import strategies as st
from quantize_samples import DIALECTS, HEADER, solve

from assay.core.plan import Scheme
from assay.core.precision import Placement, RangeMethod
from assay.graph.chunks import split_chunks
from assay.graph.groups import find_groups
from assay.graph.prepare import prepare
from assay.graph.quantize import insert_qdq
from assay.graph.quantize_selection import select
from assay.graph.simulate import simulate

JOINS = ("Add({}, {})", "Concat<axis=1>({}, {})", "Mul({}, {})")
STEPS = (
    "Conv({}, w{})",
    "Relu({})",
    "Tanh({})",
    "Sigmoid({})",
    "Transpose<perm=[0,1,3,2]>({})",
    "MaxPool<kernel_shape=[1,1]>({})",
)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[str, dict[str, tuple[int, ...]]]:
    """Random directed graphs of layers, links, movers and float nodes over squares of 4x4."""
    channels = {"x": 2}
    lines, shapes = list[str](), dict[str, tuple[int, ...]]()
    for number in range(draw(st.integers(1, 12))):
        name, source = f"t{number}", draw(st.sampled_from(sorted(channels)))
        if draw(st.integers(0, 2)):
            step = draw(st.sampled_from(STEPS))
            lines.append(f"{name} = {step.format(source, number)}")
            if step.startswith("Conv"):
                shapes[f"w{number}"] = (3, channels[source], 1, 1)
            channels[name] = 3 if step.startswith("Conv") else channels[source]
            continue
        join = draw(st.sampled_from(JOINS))
        fitting = [other for other in sorted(channels) if channels[other] == channels[source]]
        lines.append(f"{name} = {join.format(source, draw(st.sampled_from(fitting)))}")
        channels[name] = channels[source] * (2 if join.startswith("Concat") else 1)
    last = list(channels)[-1]
    lines.append(f"y = Conv({last}, wy)")
    shapes["wy"] = (2, channels[last], 1, 1)
    body = "\n".join(lines)
    return f"{HEADER} g (float[N, 2, 4, 4] x) => (float[N, 2, 4, 4] y) {{ {body} }}", shapes


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sampled_from(sorted(DIALECTS)), st.sampled_from(Placement), st.integers(1, 4), st.data())
def test_groups_partition_what_is_quantized_and_can_be_switched(
    graph: tuple[str, dict[str, tuple[int, ...]]], dialect: str, placement: Placement, most: int, data: st.DataObject
) -> None:
    text, shapes = graph
    model = prepare(fill(text, np.random.default_rng(0), **shapes))
    scheme = Scheme(DIALECTS[dialect], placement, RangeMethod.MIN_MAX)
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 2, 4, 4)).astype(np.float32)}
    names = [str(node.name) for node in model.graph]
    keep = frozenset(data.draw(st.sets(st.sampled_from(names[:-1]), max_size=2))) if len(names) > 1 else frozenset()
    ranges = solve(model, scheme, feeds, keep)
    grouping = find_groups(model, scheme, ranges, keep)

    quantized = [name for found in grouping.groups for name in found.quantized]
    assert sorted(quantized) == sorted(str(node.name) for node in select(model, scheme, keep, ranges).parts)
    every = [name for found in grouping.groups for name in found.nodes]
    assert len(set(every)) == len(every)
    assert not keep & set(every)
    assert all(set(found.quantized) <= set(found.nodes) and found.name in found.nodes for found in grouping.groups)

    realised = insert_qdq(model, scheme, ranges, keep)
    simulated = simulate(model, realised, grouping)
    count = len(grouping.groups)
    for switches, wanted in ((np.zeros(count, bool), model), (np.ones(count, bool), realised)):
        whole = run(simulated.model, {**feeds, simulated.switch: switches})[0]
        np.testing.assert_array_equal(whole, run(wanted, feeds)[0])
        known: dict[str, np.ndarray] = {}
        for chunk in split_chunks(simulated, most):
            inputs = {**feeds, simulated.switch: switches, **{name: known[name] for name in chunk.reads}}
            known |= dict(zip(chunk.gives, run(chunk.model, inputs), strict=True))
        np.testing.assert_array_equal(known["y"], whole)
