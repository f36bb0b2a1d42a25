"""What is measured: networks of real size with random weights for speed, real pairs for quality, in each format."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from assay.backends.backend import Backend
from assay.backends.table import load_backend, make_target
from assay.calibrate.observe import observe
from assay.calibrate.ranges import solve_ranges
from assay.core.calibration import Calibration
from assay.core.plan import Plan, Scheme
from assay.core.precision import CastStyle, Placement, Precision, RangeMethod
from assay.core.session import Batch
from assay.graph.expose import expose
from assay.graph.ingest import load_model
from assay.graph.prepare import prepare
from assay.graph.realise import needed_tensors, realise
from assay.graph.save import save_model

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "bench"))
from networks import Builder, write_resnet50  # noqa: E402  # isort: skip

WORDS = 30522
CALIBRATION_ITEMS = 8
REAL_ITEMS = 256
Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Size:
    """How large an encoder is."""

    layers: int
    width: int
    heads: int
    tokens: int


BERT = Size(12, 768, 12, 128)
TINY = Size(2, 64, 4, 16)


@dataclass(frozen=True)
class Network:
    """A network for speed.

    Attributes:
        write: its ONNX file.
        draw: feeds of some items.
        placement: of its quantize/dequantize pairs.
    """

    write: Callable[[Path], None]
    draw: Callable[[np.random.Generator, int], Feeds]
    placement: Placement


def list_networks(*, quick: bool) -> dict[str, Network]:
    """ResNet-50 and an encoder of BERT-base's size; with ``quick`` two that take no time."""
    size = TINY if quick else BERT

    def draw_ids(rng: np.random.Generator, items: int) -> Feeds:
        return {"ids": rng.integers(0, WORDS if not quick else 100, (items, size.tokens))}

    def draw_image(rng: np.random.Generator, items: int) -> Feeds:
        side = 32 if quick else 224
        return {"image": rng.standard_normal((items, 3, side, side), np.float32)}

    write = write_small if quick else write_resnet50
    return {
        "resnet50": Network(write, draw_image, Placement.CHAIN),
        "bert": Network(lambda path: write_encoder(path, size, 100 if quick else WORDS), draw_ids, Placement.OPERANDS),
    }


def write_small(path: Path) -> None:
    """A residual network that takes no time: ``image`` ``[batch, 3, 32, 32]`` to ``logits`` ``[batch, 10]``."""
    build = Builder(np.random.default_rng(0))
    value = build.node("Relu", [build.conv_norm("image", "stem", (32, 3, 3), 2)], "stem.relu")
    value = build.bottleneck(value, "block", 32, 16, 1)
    value = build.node("Flatten", [build.node("GlobalAveragePool", [value], "pool")], "flatten")
    weight = build.weight("fc.weight", build.rng.normal(0, 0.02, (10, 64)))
    build.nodes.append(helper.make_node("Gemm", [value, weight], ["logits"], name="fc", transB=1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 32, 32])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(build.nodes, "small", [image], [logits], build.weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def write_encoder(path: Path, size: Size, words: int) -> None:
    """An encoder with random weights: ``ids`` int64 ``[batch, tokens]`` to ``pooled`` float32 ``[batch, width]``."""
    build = Builder(np.random.default_rng(1))
    table = build.weight("table", build.rng.normal(0, 1, (words, size.width)))
    value = build.node("Gather", [table, "ids"], "embed")
    for layer in range(size.layers):
        value = add_layer(build, value, f"layer{layer}", size)
    build.nodes.append(helper.make_node("ReduceMean", [value, "axes"], ["pooled"], name="pool", keepdims=0))
    shapes = {
        "axes": [1],
        "split": [0, size.tokens, size.heads, size.width // size.heads],
        "join": [0, size.tokens, size.width],
    }
    held = [numpy_helper.from_array(np.array(shape, np.int64), name) for name, shape in shapes.items()]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", size.tokens])
    pooled = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["batch", size.width])
    graph = helper.make_graph(build.nodes, "encoder", [ids], [pooled], [*build.weights, *held])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def add_layer(build: Builder, value: str, name: str, size: Size) -> str:
    """Attention and a two-layer perceptron, each with a sum and a normalisation behind it."""
    width = size.width
    parts = [add_dense(build, value, f"{name}.{part}", width, width) for part in ("query", "key", "value")]
    orders = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    heads = [
        build.node("Transpose", [build.node("Reshape", [part, "split"], f"{name}.split{i}")], f"{name}.turn{i}", perm=p)
        for i, (part, p) in enumerate(zip(parts, orders, strict=True))
    ]
    scores = build.node("MatMul", heads[:2], f"{name}.scores")
    scale = build.weight(f"{name}.scale", np.array((width / size.heads) ** -0.5))
    weights = build.node("Softmax", [build.node("Mul", [scores, scale], f"{name}.scaled")], f"{name}.softmax", axis=-1)
    mixed = build.node("MatMul", [weights, heads[2]], f"{name}.mix")
    mixed = build.node("Transpose", [mixed], f"{name}.back", perm=[0, 2, 1, 3])
    mixed = add_dense(build, build.node("Reshape", [mixed, "join"], f"{name}.join"), f"{name}.output", width, width)
    value = add_norm(build, build.node("Add", [value, mixed], f"{name}.sum1"), f"{name}.norm1", width)
    inner = build.node("Gelu", [add_dense(build, value, f"{name}.up", width, 4 * width)], f"{name}.gelu")
    inner = add_dense(build, inner, f"{name}.down", 4 * width, width)
    return add_norm(build, build.node("Add", [value, inner], f"{name}.sum2"), f"{name}.norm2", width)


def add_dense(build: Builder, value: str, name: str, inner: int, outer: int) -> str:
    """A product with a weight, and a bias."""
    weight = build.weight(f"{name}.weight", build.rng.normal(0, inner**-0.5, (inner, outer)))
    bias = build.weight(f"{name}.bias", build.rng.normal(0, 0.1, outer))
    return build.node("Add", [build.node("MatMul", [value, weight], f"{name}.product"), bias], name)


def add_norm(build: Builder, value: str, name: str, width: int) -> str:
    """Layer normalisation."""
    scale, bias = build.weight(f"{name}.scale", np.ones(width)), build.weight(f"{name}.bias", np.zeros(width))
    return build.node("LayerNormalization", [value, scale, bias], name, axis=-1, epsilon=1e-5)


class Items:
    """Some items, one at a time."""

    fingerprint = "bench"
    labelled = False

    def __init__(self, make: Callable[[int], Feeds], count: int) -> None:
        self._make, self._count = make, count

    def __len__(self) -> int:
        return self._count

    def batches(self, size: int) -> Iterator[Batch]:
        """Always one at a time."""
        del size
        return (Batch(self._make(index), None, index) for index in range(self._count))


class Forms:
    """A model in every format, each written when it is first asked for.

    Args:
        prepared: the model.
        items: to calibrate with.
        placement: of quantize/dequantize pairs.
        folder: for the files.
    """

    def __init__(self, prepared: ir.Model, items: Items, placement: Placement, folder: Path) -> None:
        self._prepared, self._items, self._placement, self._folder = prepared, items, placement, folder
        self._written: dict[str, Path] = {}
        self._observed: Calibration | None = None
        self._wanted: np.ndarray | None = None

    def write(self, backend: Backend, precision: Precision) -> tuple[Path, Plan]:
        """The model as a runtime wants it, and the plan; raises UnsupportedPlan where it wants none."""
        plan = self._plan(backend, precision)
        name = f"{plan.precision}-{plan.scheme.dialect.name if plan.scheme else plan.cast}"
        if name not in self._written:
            observed = self._observe() if plan.scheme is not None else None
            ranges = solve_ranges(observed, plan.scheme) if observed is not None and plan.scheme is not None else None
            path = self._folder / f"{name}.onnx"
            save_model(realise(self._prepared, plan, observed, ranges), path)
            self._written[name] = path
        return self._written[name], plan

    def compute(self, feeds: Feeds) -> np.ndarray:
        """The first output in FP32 on the CPU, computed once: the feeds must always be the same."""
        if self._wanted is None:
            simulator, target = load_backend("onnxruntime"), make_target("onnxruntime", threads=8)
            path, plan = self.write(simulator, Precision.FP32)
            with tempfile.TemporaryDirectory(dir=self._folder) as name:
                simulator.build(path, Path(name), plan, target)
                with simulator.open(Path(name), target) as session:
                    self._wanted = np.asarray(next(iter(session.run(feeds).values())))
        return self._wanted

    def _plan(self, backend: Backend, precision: Precision) -> Plan:
        target = make_target(backend.name)
        if precision in {Precision.FP16, Precision.BF16}:
            return Plan(precision, cast=CastStyle.TYPED)
        if precision is not Precision.INT8:
            return Plan(precision)
        dialects = backend.dialects(target)
        if not dialects:
            raise LookupError(f"{backend.name} has no integers here")
        scheme = Scheme(dialects[0], self._placement, RangeMethod.MSE)
        return Plan(Precision.INT8, rest=backend.rests(target)[0], scheme=scheme)

    def _observe(self) -> Calibration:
        """Statistics of every tensor that any dialect may need, on the CPU."""
        if self._observed is None:
            simulator = load_backend("onnxruntime")
            widest = next(iter(simulator.dialects(make_target("onnxruntime"))))
            names = sorted(
                {
                    name
                    for backend in ("onnxruntime", "reference", "torch")
                    if load_backend(backend).probe().available
                    for dialect in load_backend(backend).dialects(make_target(backend)) or (widest,)
                    for name in needed_tensors(
                        self._prepared, Plan(Precision.INT8, scheme=Scheme(dialect, self._placement, RangeMethod.MSE))
                    )
                }
            )
            path = self._folder / "exposed.onnx"
            save_model(expose(self._prepared, names), path)
            target = make_target("onnxruntime", threads=8)
            with tempfile.TemporaryDirectory(dir=self._folder) as name:
                simulator.build(path, Path(name), Plan(Precision.FP32), target)
                with simulator.open(Path(name), target) as session:
                    self._observed = observe(session, self._items, names, 1)
            path.unlink()
        return self._observed


def make_forms(network: Network, folder: Path) -> Forms:
    """A network for speed in every format."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "source.onnx"
    network.write(source)
    items = Items(lambda index: network.draw(np.random.default_rng(index), 1), CALIBRATION_ITEMS)
    return Forms(prepare(load_model(source)), items, network.placement, folder)


@dataclass(frozen=True)
class Pair:
    """A trained model with labelled data.

    Attributes:
        model: ONNX file.
        calibration: items without labels, in the model's terms.
        feeds: all evaluation items.
        target: their classes.
    """

    model: Path
    calibration: np.ndarray
    feeds: Feeds
    target: np.ndarray


def list_pairs(*, quick: bool) -> Mapping[str, Callable[[], Pair]]:
    """Pairs that are here: Fashion-MNIST's always, the photographs where their example fetched them."""
    examples = ROOT / "examples"
    found: dict[str, Callable[[], Pair]] = {
        f"fashion-{name}": lambda name=name: read_pair(  # type: ignore[misc]  # bound here
            examples / f"fashion/{name}.onnx", examples / "fashion", (255.0, 0.2860, 0.3530)
        )
        for name in ("residual", "separable")
    }
    photographs = examples / "imagenet/files"
    if not quick and (photographs / "efficientnet_lite0.onnx").exists():
        found["efficientnet-lite0"] = lambda: read_pair(
            photographs / "efficientnet_lite0.onnx", photographs, (1.0, 127.0, 128.0)
        )
    return found


def read_pair(model: Path, folder: Path, norm: tuple[float, float, float]) -> Pair:
    """Read a pair whose items are bytes.

    Args:
        model: ONNX file.
        folder: of ``calibration.npz`` and ``evaluation.npz``.
        norm: what bytes are divided by, then mean and deviation.
    """
    scale, mean, deviation = norm
    name = onnx.load(model, load_external_data=False).graph.input[0].name
    arrays = [np.load(folder / f"{part}.npz", allow_pickle=False) for part in ("calibration", "evaluation")]
    key = next(key for key in arrays[1].files if key != "target")
    calibration, evaluation = ((part[key].astype(np.float32) / scale - mean) / deviation for part in arrays)
    held = calibration[:REAL_ITEMS].astype(np.float32)
    return Pair(model, held, {name: evaluation.astype(np.float32)}, arrays[1]["target"])


def make_pair_forms(pair: Pair, folder: Path) -> Forms:
    """A real model in every format."""
    folder.mkdir(parents=True, exist_ok=True)
    name = next(iter(pair.feeds))
    items = Items(lambda index: {name: pair.calibration[index : index + 1]}, len(pair.calibration))
    return Forms(prepare(load_model(pair.model)), items, Placement.CHAIN, folder)
