"""A ranker with embedding tables, from its study to a certificate, a quarter of the memory, and bad queries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from study_samples import Files, Ran, call_assay, run_assay

FILMS, COLUMNS, CANDIDATES, SEEN = 6000, 32, 20, 5
QUERIES = 1500
EXAMPLE = Path(__file__).parents[2] / "examples" / "movielens"


def write_ranker(path: Path, rng: np.random.Generator, films: int = FILMS, columns: int = COLUMNS) -> None:
    """A bag of films seen, multiplied with each candidate, and a small network on top."""

    def weight(name: str, *shape: int, size: float = 1.0) -> onnx.TensorProto:
        return numpy_helper.from_array((size * rng.standard_normal(shape)).astype(np.float32), name)

    nodes = [
        helper.make_node("Gather", ["seen_table", "seen"], ["rows"], name="bag"),
        helper.make_node("ReduceSum", ["rows", "one"], ["taste"], name="sum"),
        helper.make_node("Gather", ["film_table", "films"], ["vectors"], name="candidates"),
        helper.make_node("Mul", ["vectors", "taste"], ["both"], name="interaction"),
        helper.make_node("MatMul", ["both", "w1"], ["hidden"], name="first"),
        helper.make_node("Relu", ["hidden"], ["rising"], name="relu"),
        helper.make_node("MatMul", ["rising", "w2"], ["last"], name="second"),
        helper.make_node("Squeeze", ["last", "two"], ["scores"], name="squeeze"),
    ]
    weights = [weight("seen_table", films, columns), weight("film_table", films, columns)]
    weights += [weight("w1", columns, 32, size=0.2), weight("w2", 32, 1, size=0.2)]
    weights += [numpy_helper.from_array(np.array([axis]), name) for name, axis in (("one", 1), ("two", 2))]
    inputs = [
        helper.make_tensor_value_info("seen", TensorProto.INT64, ["batch", SEEN]),
        helper.make_tensor_value_info("films", TensorProto.INT64, ["batch", CANDIDATES]),
    ]
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CANDIDATES])
    graph = helper.make_graph(nodes, "ranker", inputs, [output], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def draw(rng: np.random.Generator, queries: int, films: int = FILMS) -> dict[str, NDArray[np.int64]]:
    return {
        "seen": rng.integers(0, films, (queries, SEEN)),
        "films": rng.integers(0, films, (queries, CANDIDATES)),
    }


def make_files(folder: Path, queries: int, films: int = FILMS, columns: int = COLUMNS) -> Files:
    """A model, and queries whose relevant films mostly have high scores."""
    rng = np.random.default_rng(0)
    made = Files(folder, folder / "ranker.onnx", folder / "calibration.npz", folder / "evaluation.npz")
    write_ranker(made.model, rng, films, columns)
    np.savez(made.calibration, **draw(rng, 64, films))
    asked = draw(rng, queries, films)
    scores = onnxruntime.InferenceSession(made.model).run(["scores"], asked)[0]
    noisy = scores + rng.standard_normal(scores.shape) * scores.std()
    order = np.argsort(-noisy, axis=1)
    grades = np.zeros(scores.shape, np.int8)
    np.put_along_axis(grades, order[:, :3], np.array([[3, 2, 1]], np.int8), axis=1)
    np.savez(made.evaluation, **asked, target=grades)
    return made


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A small one."""
    return make_files(tmp_path_factory.mktemp("ranker"), QUERIES)


def list_trials(ran: Ran) -> dict[str, dict[str, Any]]:
    """Trials that ran, by id."""
    trials: Any = ran.document["trials"]
    return {trial["id"]: trial for trial in trials if trial["status"] == "ok"}


def arguments(
    files: Files, output: Path, tolerance: str = "ndcg@5: 2%", runtimes: str = "onnxruntime"
) -> list[str | Path]:
    return [
        "study", files.model, "--task", "ranking", "--calibration", files.calibration, "--evaluation",
        files.evaluation, "--tolerance", tolerance, "--minimize", "size", "--precisions", "fp32,int8",
        "--ranges", "min-max", "--latency-seconds", "0.5", "--runtimes", runtimes, "--mixed-plans", "0",
        "--output", output, "--json",
    ]  # fmt: skip


def test_tables_in_integers_are_chosen_certified_and_a_quarter(ranker: Files, tmp_path: Path) -> None:
    ran = run_assay(*arguments(ranker, tmp_path / "STUDY"))
    assert ran.status == 0, ran.err
    decision: Any = ran.document["decision"]
    trials = list_trials(ran)
    chosen = trials[decision["chosen"]]
    assert chosen["id"].split(".")[1].startswith("int8")
    assert "-tables" in chosen["id"]
    assert chosen["certificate"]["status"] == "certified"
    assert chosen["certificate"]["metric"] == "ndcg@5"
    plain = [one for one in trials.values() if "-tables" not in one["id"]]
    assert len(plain) > 1
    assert all(chosen["size_bytes"] < 0.31 * one["size_bytes"] for one in plain)


def spoil(source: Path, path: Path, **changes: NDArray[np.generic]) -> Path:
    """The same data with other arrays."""
    with np.load(source) as data:
        np.savez(path, **{**data, **changes})
    return path


def read(path: Path, name: str) -> NDArray[np.int64]:
    with np.load(path) as data:
        return np.asarray(data[name])


def test_a_film_beyond_the_table_is_refused(ranker: Files, tmp_path: Path) -> None:
    films = read(ranker.evaluation, "films")
    films[7, 3] = FILMS
    broken = spoil(ranker.evaluation, tmp_path / "broken.npz", films=films)
    bad = Files(tmp_path, ranker.model, ranker.calibration, broken)
    ran = call_assay(*arguments(bad, tmp_path / "STUDY"))
    assert ran.status == 2
    assert all(named in ran.err for named in ("broken.npz", "item 7", str(FILMS), "hint:"))


@pytest.mark.slow
def test_large_tables_take_a_quarter_of_the_memory(tmp_path: Path) -> None:
    """The rise of the resident set while an artifact is opened in a process of its own, as the study measures it."""
    files = make_files(tmp_path, 64, films=300_000, columns=64)
    ran = run_assay(
        *arguments(files, tmp_path / "STUDY", "ndcg@5: 5pp", "onnxruntime,openvino"),
        "--accept-unresolvable",
        limit_s=3600,
    )
    trials = list_trials(ran)
    for runtime in ("onnxruntime", "openvino"):
        full = trials[f"{runtime}.fp32"]
        small = [one for name, one in trials.items() if name.startswith(f"{runtime}.int8") and "-tables" in name]
        assert small
        assert all(one["size_bytes"] < 0.27 * full["size_bytes"] for one in small)
        saved = [full["model_memory_bytes"] - one["model_memory_bytes"] for one in small]
        assert min(saved) > 0.7 * 2 * 300_000 * 64 * 4


@pytest.mark.slow
def test_movielens_is_certified_within_half_a_percent(tmp_path: Path) -> None:
    """The example's own study, with a shorter measurement of latency."""
    if not (EXAMPLE / "files" / "ranker.onnx").exists():
        pytest.skip("examples/movielens/files is not there: run `python fetch.py` in examples/movielens")
    ran = run_assay(
        *("study", EXAMPLE / "study.toml", "--runtimes", "onnxruntime", "--minimize", "size", "--mixed-plans", "0"),
        *("--latency-seconds", "2", "--output", tmp_path / "STUDY", "--json"),
        limit_s=3600,
    )
    assert ran.status == 0, ran.err
    trials = list_trials(ran)
    decision: Any = ran.document["decision"]
    chosen, full = trials[decision["chosen"]], trials["onnxruntime.fp32"]
    assert "-tables" in chosen["id"]
    assert chosen["certificate"]["status"] == "certified"
    assert chosen["certificate"]["high"] <= chosen["certificate"]["margin"] <= 0.0051 * full["quality"]["value"]
    assert 0.4 < full["quality"]["value"] < 0.6
    assert chosen["size_bytes"] < 0.28 * full["size_bytes"]
