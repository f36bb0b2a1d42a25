"""ONNX Runtime's other execution providers: why they are not here, and what they are asked for."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort
import pytest

from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.backends.onnxruntime.options import Settings, find_providers
from assay.backends.onnxruntime.providers import Provider, choose_providers, explain_missing, make_options
from assay.backends.table import load_backend, make_target
from assay.core.errors import BackendUnavailable, UnsupportedPlan
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.target import Target

GPU = {
    "onnxruntime-cuda": Provider.CUDA,
    "onnxruntime-tensorrt": Provider.TENSORRT,
    "onnxruntime-rtx": Provider.RTX,
}


def pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every provider loaded: what is asked of them needs none."""
    monkeypatch.setattr("assay.backends.onnxruntime.providers.explain_missing", lambda *_: "")


@pytest.mark.parametrize("name", GPU)
def test_a_provider_that_is_missing_has_a_reason(name: str) -> None:
    backend, provider = load_backend(name), GPU[name]
    if provider.vendor_name in ort.get_available_providers() and not explain_missing(provider, 0):
        pytest.skip(f"{provider.vendor_name} is here")
    found = backend.probe()
    assert backend.name == name
    assert not found.available
    assert provider.vendor_name in found.missing
    assert found.remedy
    target = make_target(name)
    assert target.device == "cuda:0"
    assert provider.vendor_name in backend.supports(Plan(Precision.FP32), target).reason
    with pytest.raises(BackendUnavailable, match="cuda:0"):
        backend.dialects(target)


def test_devices_belong_to_providers() -> None:
    assert choose_providers(Provider.CPU, "cpu") == ["CPUExecutionProvider"]
    for provider, device in ((Provider.CPU, "cuda:0"), (Provider.CUDA, "cpu"), (Provider.CPU, "cpu:1")):
        with pytest.raises(BackendUnavailable, match=device):
            choose_providers(provider, device)


def test_tf32_is_off_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    (name, options), last = choose_providers(Provider.CUDA, "cuda:1")
    assert (name, last) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert (options["device_id"], options["use_tf32"]) == ("1", "0")
    assert make_options(Provider.CUDA, 0, tf32=True)["use_tf32"] == "1"


def test_tensorrt_may_compute_the_rest_in_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    options = make_options(Provider.TENSORRT, 0, rest=Precision.FP16)
    assert (options["trt_int8_enable"], options["trt_fp16_enable"]) == ("1", "1")
    assert make_options(Provider.TENSORRT, 0)["trt_fp16_enable"] == "0"
    dialect = load_backend("onnxruntime-tensorrt").dialects(make_target("onnxruntime-tensorrt"))[0]
    assert dialect.symmetric
    assert not dialect.integer_bias


def test_cuda_is_given_no_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    backend, target = load_backend("onnxruntime-cuda"), make_target("onnxruntime-cuda")
    assert backend.dialects(target) == ()
    assert "in floats" in backend.supports(Plan(Precision.INT8), target).reason
    assert backend.supports(Plan(Precision.TF32), target).supported


def test_the_cpu_has_no_tf32(tmp_path: Path) -> None:
    support = OnnxRuntimeBackend().supports(Plan(Precision.TF32), Target("onnxruntime"))
    assert "TF32" in support.reason
    with pytest.raises(UnsupportedPlan, match="TF32"):
        OnnxRuntimeBackend().build(tmp_path / "m.onnx", tmp_path, Plan(Precision.TF32), Target("onnxruntime"))


def test_settings_keep_the_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    Settings(provider=Provider.CUDA, tf32=True).write(tmp_path)
    settings = Settings.read(tmp_path)
    (_, options), _ = find_providers(settings, "cuda")
    assert options["use_tf32"] == "1"


def test_settings_of_older_folders_are_read(tmp_path: Path) -> None:
    older = '{"schema": 1, "optimise": true, "quantized": false, "integers": true, "group": 0}'
    (tmp_path / "settings.json").write_text(older)
    assert Settings.read(tmp_path).provider is Provider.CPU
