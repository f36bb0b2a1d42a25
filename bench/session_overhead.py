"""What Assay's ``Session.run`` adds over the runtime's own call: one process, alternating order, medians.

Run: ``python bench/session_overhead.py [ROUNDS]``. Prints one table and a JSON line; exits 1 above the limit.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
from onnx import parser

from assay.backends.table import load_backend
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.target import Target

LIMIT_US = 20.0
WARM_UP = 200

# Fixed shapes: both sides run the same compiled form of the model.
MODELS = {
    "1 input, 1 output": "g (float[1,16] x) => (float[1,16] y) { y = Relu(x) }",
    "3 inputs, 2 outputs": """g (float[1,16] x, float[1,16] b, int64[1,2] i) => (float[1,16] y, float[1,2] z) {
        y = Add(x, b)
        z = GatherElements<axis = 1>(y, i)
    }""",
}

Call = Callable[[], object]


def make_feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Zeros for every input, one item."""
    return {
        value.name: np.zeros(
            [axis.dim_value or 1 for axis in value.type.tensor_type.shape.dim],
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
        )
        for value in model.graph.input
    }


def open_vendor(runtime: str, path: Path) -> Callable[[dict[str, np.ndarray]], object]:
    """The runtime's own call in its fastest documented form, on one thread."""
    if runtime == "onnxruntime":
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return lambda feeds: session.run(None, feeds)
    properties = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}
    request = ov.Core().compile_model(str(path), "CPU", properties).create_infer_request()
    return lambda feeds: request.infer(feeds, share_inputs=True, share_outputs=True)


def time_pairs(own: Call, ours: Call, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each call per round, the order alternating."""
    seconds = np.empty((rounds, 2))
    for _ in range(WARM_UP):
        own()
        ours()
    calls = (own, ours)
    for index in range(rounds):
        for which in (0, 1) if index % 2 else (1, 0):
            start = time.perf_counter()
            calls[which]()
            seconds[index, which] = time.perf_counter() - start
    return seconds[:, 0], seconds[:, 1]


def measure(runtime: str, label: str, text: str, rounds: int) -> dict[str, object]:
    """One row: both medians and the median of the paired differences, in microseconds."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]>\n{text}')
    feeds = make_feeds(model)
    backend, target = load_backend(runtime), Target(runtime)
    with tempfile.TemporaryDirectory() as folder:
        path, built = Path(folder) / "model.onnx", Path(folder) / "built"
        onnx.save(model, path)
        built.mkdir()
        backend.build(path, built, Plan(Precision.FP32), target)
        vendor = open_vendor(runtime, path)
        with backend.open(built, target) as session:
            own, ours = time_pairs(lambda: vendor(feeds), lambda: session.run(feeds), rounds)
    added = float(np.median(ours - own)) * 1e6
    medians = {"own_us": round(float(np.median(own)) * 1e6, 2), "session_us": round(float(np.median(ours)) * 1e6, 2)}
    return {"runtime": runtime, "model": label, **medians, "added_us": round(added, 2), "within": added <= LIMIT_US}


def main() -> int:
    """Measure every runtime on every model."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    rows = [measure(runtime, *item, rounds) for runtime in ("onnxruntime", "openvino") for item in MODELS.items()]
    print(f"{'runtime':12} {'model':20} {'own call':>10} {'Session.run':>12} {'added':>9}   (microseconds, medians)")
    for row in rows:
        print(
            f"{row['runtime']:12} {row['model']:20} {row['own_us']:10.2f} {row['session_us']:12.2f} "
            f"{row['added_us']:9.2f}"
        )
    print(json.dumps({"bench": "session_overhead", "limit_us": LIMIT_US, "rounds": rounds, "rows": rows}))
    return 0 if all(row["within"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
