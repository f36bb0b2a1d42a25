"""The peers: NNCF, run in OpenVINO, and ONNX Runtime's own quantizer, run in ONNX Runtime, on the same items."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from assay.core.tensor import Array, Feeds
from assay.graph.ingest import load_model
from assay.graph.save import save_model
from zoo.running import Run

OLDEST_OPSET = 13
"""The first with one scale per channel: an older model is converted for ONNX Runtime's quantizer."""
CHUNK = 32
"""Items that ONNX Runtime's calibrators hold at a time: they keep every activation of a chunk in memory."""


@dataclass(frozen=True)
class Peer:
    """A peer's recipe: opens the quantized model over a file and calibration items, each a batch of one."""

    name: str
    runtime: str
    open: Callable[[Path, Sequence[Feeds], int], Run]


class Items:
    """Calibration items as ONNX Runtime's quantizer reads them."""

    def __init__(self, items: Sequence[Feeds]) -> None:
        self._items = items
        self._next, self._end = 0, len(items)

    def __len__(self) -> int:
        """Number of items."""
        return len(self._items)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give these items next."""
        self._next, self._end = start_index, end_index

    def get_next(self) -> dict[str, Array] | None:
        """The next item, or None."""
        if self._next >= self._end:
            return None
        self._next += 1
        return dict(self._items[self._next - 1])


def open_nncf(model: Path, items: Sequence[Feeds], threads: int, preset: str) -> Run:
    """``nncf.quantize`` with fast bias correction, for the CPU, compiled in FP32 where it is not INT8."""
    import nncf  # noqa: PLC0415 - slow to import
    import openvino as ov  # noqa: PLC0415 - the same

    core = ov.Core()
    quantized = nncf.quantize(
        core.read_model(str(model)),
        nncf.Dataset([dict(item) for item in items]),
        preset=nncf.QuantizationPreset(preset),
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(items),
        fast_bias_correction=True,
    )
    properties = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(quantized, "CPU", properties)
    wanted = {value.name for value in onnx.load(model, load_external_data=False).graph.output}
    names = [next(iter(wanted & output.get_names())) for output in compiled.outputs]
    return lambda feeds: dict(zip(names, compiled(dict(feeds)).values(), strict=True))


def open_quantize_static(model: Path, items: Sequence[Feeds], threads: int, method: str, *, per_channel: bool) -> Run:
    """``quantize_static`` after its own preprocessing: u8 activations, s8 weights, quantize/dequantize pairs."""
    import onnxruntime as ort  # noqa: PLC0415 - beside the other peer's imports
    from onnxruntime import quantization  # noqa: PLC0415 - the same
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415 - the same

    with tempfile.TemporaryDirectory(prefix="assay-bench-") as scratch:
        source, ready, result = (Path(scratch, name) for name in ("source.onnx", "ready.onnx", "result.onnx"))
        opset = max(entry.version for entry in onnx.load(model, load_external_data=False).opset_import)
        if opset < OLDEST_OPSET:
            save_model(load_model(model), source)
        else:
            source = model
        quant_pre_process(str(source), str(ready))
        chunk = max(size for size in range(1, CHUNK + 1) if len(items) % size == 0)
        quantization.quantize_static(
            str(ready),
            str(result),
            Items(items),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod[method],
            extra_options={"CalibStridedMinMax": chunk},
        )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(str(result), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


PEERS = (
    *(
        Peer(f"nncf.{preset}", "openvino", lambda *given, preset=preset: open_nncf(*given, preset))
        for preset in ("mixed", "performance")
    ),
    *(
        Peer(
            f"quantize_static.{method.lower()}",
            "onnxruntime",
            lambda *given, method=method: open_quantize_static(*given, method, per_channel=True),
        )
        for method in ("MinMax", "Entropy", "Percentile")
    ),
    Peer(
        "quantize_static.minmax-per-tensor",
        "onnxruntime",
        lambda *given: open_quantize_static(*given, "MinMax", per_channel=False),
    ),
)
