from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import HEADER, external_model, fill, run, write_weights

from assay.core.errors import ModelError, RequestError, StoreError
from assay.graph.export_torch import export_module
from assay.graph.ingest import load_model
from assay.graph.save import save_model
from assay.graph.signature import describe_signature

TEXT = "g (float[N, 300] x) => (float[N, 20] y) { a = MatMul(x, w) y = Add(a, b) }"


@pytest.fixture
def model() -> ir.Model:
    return fill(HEADER + TEXT, np.random.default_rng(2), w=(300, 20), b=(20,))


def feeds() -> dict[str, np.ndarray]:
    return {"x": np.linspace(-1, 1, 600, dtype=np.float32).reshape(2, 300)}


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- saving ----------------------------------------------------------------------------------------------------------


def test_a_model_is_one_file(model: ir.Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m.onnx")
    assert files(tmp_path) == ["m.onnx"]
    np.testing.assert_array_equal(run(load_model(tmp_path / "m.onnx"), feeds())[0], run(model, feeds())[0])


def test_large_weights_lie_beside_the_file(model: ir.Model, tmp_path: Path) -> None:
    before = ir.to_proto(model).SerializeToString()
    tensor = model.graph.initializers["w"].const_value
    save_model(model, tmp_path / "m.onnx", embed_limit_bytes=1000)
    assert files(tmp_path) == ["m.onnx", "m.onnx.data"]
    assert (tmp_path / "m.onnx.data").stat().st_size == 24000
    loaded = load_model(tmp_path / "m.onnx")
    np.testing.assert_array_equal(run(loaded_into_memory(loaded), feeds())[0], run(model, feeds())[0])
    assert ir.to_proto(model).SerializeToString() == before
    assert model.graph.initializers["w"].const_value is tensor


def loaded_into_memory(model: ir.Model) -> ir.Model:
    return ir.external_data.load_to_model(model.clone())


def test_external_weights_move_with_the_model(tmp_path: Path) -> None:
    source, into = tmp_path / "source", tmp_path / "into"
    source.mkdir()
    into.mkdir()
    write_weights(source / "w.bin")
    model = load_model(external_model(source))
    save_model(model, into / "m.onnx")
    assert isinstance(model.graph.initializers["w"].const_value, ir.ExternalTensor)
    (source / "w.bin").unlink()
    assert files(into) == ["m.onnx"]
    weight = load_model(into / "m.onnx").graph.initializers["w"].const_value
    assert weight is not None
    np.testing.assert_array_equal(weight.numpy().reshape(-1), np.arange(600))


def test_a_smaller_model_takes_the_old_weights_away(model: ir.Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m.onnx", embed_limit_bytes=1000)
    save_model(model, tmp_path / "m.onnx")
    assert files(tmp_path) == ["m.onnx"]


def test_weights_that_are_still_read_are_not_overwritten(model: ir.Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m.onnx", embed_limit_bytes=1000)
    loaded = load_model(tmp_path / "m.onnx")
    with pytest.raises(StoreError, match=r"m\.onnx\.data"):
        save_model(loaded, tmp_path / "m.onnx")
    assert files(tmp_path) == ["m.onnx", "m.onnx.data"]


def test_a_folder_that_cannot_be_written_is_named(model: ir.Model, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none" / "m.onnx", tmp_path / "file" / "m.onnx"):
        with pytest.raises(StoreError, match=str(path)):
            save_model(model, path)
    (tmp_path / "taken.onnx").mkdir()
    with pytest.raises(StoreError, match=r"taken\.onnx"):
        save_model(model, tmp_path / "taken.onnx")
    assert files(tmp_path) == ["file", "taken.onnx"]


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files of at most 10,000 bytes: what a full disk does to a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("limit", [1000, 10**9])
@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_leaves_what_was_there(model: ir.Model, tmp_path: Path, limit: int) -> None:
    (tmp_path / "m.onnx").write_bytes(b"what was there")
    with pytest.raises(StoreError, match=r"cannot write .*m\.onnx"):
        save_model(model, tmp_path / "m.onnx", embed_limit_bytes=limit)
    assert files(tmp_path) == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_bytes() == b"what was there"


def test_saved_files_have_ordinary_permissions(model: ir.Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m.onnx", embed_limit_bytes=1000)
    (tmp_path / "other").touch()
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


# --- torch -----------------------------------------------------------------------------------------------------------


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RequestError) as caught:
        export_module(object(), (), tmp_path / "m.onnx")  # type: ignore[arg-type]  # never looked at
    assert "pip install 'assay-precision[torch]'" in caught.value.hint
    assert files(tmp_path) == []


@pytest.fixture
def torch() -> ModuleType:
    return pytest.importorskip("torch")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("items", [1, 2])
def test_a_module_is_exported_in_evaluation_mode_with_a_dynamic_batch(
    torch: ModuleType, tmp_path: Path, items: int
) -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.Dropout(),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 2),
    )
    net.train()
    assert export_module(net, (torch.ones(items, 3, 6, 6),), tmp_path / "m.onnx") == tmp_path / "m.onnx"
    assert all(part.training for part in net.modules())
    model = load_model(tmp_path / "m.onnx")
    spec = describe_signature(model).inputs[0]
    assert spec.shape is not None
    assert isinstance(spec.shape[0], str)
    assert spec.shape[1:] == (3, 6, 6)
    data = np.random.default_rng(0).standard_normal((5, 3, 6, 6)).astype(np.float32)
    with torch.no_grad():
        wanted = net.eval()(torch.from_numpy(data)).numpy()
    np.testing.assert_allclose(run(model, {spec.name: data})[0], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("default")
def test_a_batch_can_be_fixed(torch: ModuleType, tmp_path: Path) -> None:
    export_module(torch.nn.Linear(3, 2), (torch.ones(4, 3),), tmp_path / "m.onnx", dynamic_batch=False)
    assert describe_signature(load_model(tmp_path / "m.onnx")).inputs[0].shape == (4, 3)


@pytest.mark.filterwarnings("default")
def test_an_exported_program_keeps_its_axes(torch: ModuleType, tmp_path: Path) -> None:
    axes = ({0: torch.export.Dim("items")},)
    program = torch.export.export(torch.nn.Linear(3, 2), (torch.ones(4, 3),), dynamic_shapes=axes)
    export_module(program, (), tmp_path / "m.onnx")
    shape = describe_signature(load_model(tmp_path / "m.onnx")).inputs[0].shape
    assert shape is not None
    assert not isinstance(shape[0], int)


@pytest.mark.filterwarnings("default")
def test_what_torch_cannot_export_is_a_model_error(torch: ModuleType, tmp_path: Path) -> None:
    class Branching(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else x + 1

    with pytest.raises(ModelError, match="cannot export Branching"):
        export_module(Branching(), (torch.ones(2, 3),), tmp_path / "m.onnx")
    with pytest.raises(RequestError, match="a dict"):
        export_module({}, (), tmp_path / "m.onnx")  # type: ignore[arg-type]  # what a user may well give
    with pytest.raises(StoreError, match="none"):
        export_module(torch.nn.Linear(3, 2), (torch.ones(4, 3),), tmp_path / "none" / "m.onnx")
    assert files(tmp_path) == []
