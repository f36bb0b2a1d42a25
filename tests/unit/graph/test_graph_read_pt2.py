from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from graph_samples import run

from assay.core.errors import ModelError
from assay.graph.export_torch import export_module
from assay.graph.ingest import load_model
from assay.graph.read_pt2 import is_arithmetic, read_program

if TYPE_CHECKING:
    import torch

MODEL = "models/model.json"
pytestmark = pytest.mark.filterwarnings("default")


class Bomb:
    """What runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module", name="torch")
def import_torch() -> ModuleType:
    return pytest.importorskip("torch", reason="PyTorch is an extra")


@pytest.fixture(scope="module")
def net(torch: ModuleType) -> torch.nn.Module:
    torch.manual_seed(4)
    layers = (torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(), torch.nn.Flatten())
    return torch.nn.Sequential(*layers, torch.nn.Linear(64, 5)).eval()


@pytest.fixture(scope="module")
def saved(torch: ModuleType, net: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    axes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(net, (torch.ones(2, 3, 6, 6),), dynamic_shapes=axes), path)
    return path


def rewrite(source: Path, path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with some of its records changed."""
    with zipfile.ZipFile(source) as archive:
        records = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(records)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in records.items():
            archive.writestr(f"net/{name}", content)
    return path


def edit(records: dict[str, bytes], record: str, change: Callable[[Any], None]) -> None:
    content = json.loads(records[record])
    change(content)
    records[record] = json.dumps(content).encode()


def test_a_saved_program_computes_what_the_module_computes(
    torch: ModuleType, net: torch.nn.Module, saved: Path, tmp_path: Path
) -> None:
    export_module(read_program(torch, saved), (), tmp_path / "net.onnx")
    data = np.random.default_rng().standard_normal((5, 3, 6, 6)).astype(np.float32)
    model = load_model(tmp_path / "net.onnx")
    with torch.no_grad():
        wanted = net(torch.from_numpy(data)).numpy()
    np.testing.assert_allclose(run(model, {model.graph.inputs[0].name: data})[0], wanted, rtol=1e-4, atol=1e-5)


def test_an_export_tells_nothing_of_who_made_it_and_is_the_same_twice(
    torch: ModuleType, saved: Path, tmp_path: Path
) -> None:
    for name in ("a.onnx", "b.onnx"):
        export_module(read_program(torch, saved), (), tmp_path / name)
    content = (tmp_path / "a.onnx").read_bytes()
    assert content == (tmp_path / "b.onnx").read_bytes()
    assert str(Path(__file__).parent).encode() not in content


def test_a_program_with_sizes_that_are_computed_is_read(torch: ModuleType, tmp_path: Path) -> None:
    class Sized(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(x.shape[0] * 2, -1)[: x.shape[0] // 3 + 1]

    program = torch.export.export(Sized(), (torch.ones(4, 6),), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program, tmp_path / "sized.pt2")
    found = read_program(torch, tmp_path / "sized.pt2")
    data = torch.arange(30.0).reshape(5, 6)
    assert torch.equal(found.module()(data), Sized()(data))


def plant(records: dict[str, bytes], bomb: Path, place: str) -> None:
    payload = pickle.dumps(Bomb(bomb))
    if place == "weight":
        config = "data/weights/model_weights_config.json"
        edit(records, config, lambda c: c["config"]["0.weight"].update(use_pickle=True))
        records["data/weights/weight_0"] = payload
    elif place == "object":
        config = "data/constants/model_constants_config.json"
        entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
        edit(records, config, lambda c: c["config"].update(x=entry))
        records["data/constants/tensor_0"] = payload
    elif place == "legacy":
        records["data/weights/model.pt"] = payload
    elif place == "inputs":
        records["data/sample_inputs/model.pt"] = payload
    elif place == "size":
        code = f"__import__('pathlib').Path({str(bomb)!r}).touch()"
        edit(records, MODEL, lambda m: deepen(m, "expr_str", code))
    elif place == "operator":
        edit(records, MODEL, lambda m: m["graph_module"]["graph"]["nodes"][0].update(target="torch.hub.load"))
    elif place == "caller":
        edit(records, MODEL, lambda m: m["graph_module"]["graph"]["nodes"][0].update(target="_operator.call"))
    elif place == "structure":
        context = {"__enum__": True, "fqn": "antigravity:x"}
        spec = json.dumps([1, {"type": "builtins.tuple", "context": context, "children_spec": []}])
        edit(records, MODEL, lambda m: deepen(m, "in_spec", spec))


def deepen(value: object, key: str, new: str) -> None:
    """Put a text wherever a key stands."""
    if isinstance(value, dict):
        if key in value:
            value[key] = new
        for one in value.values():
            deepen(one, key, new)
    elif isinstance(value, list):
        for one in value:
            deepen(one, key, new)


@pytest.mark.parametrize("place", ["weight", "object", "legacy", "size", "operator", "caller", "structure"])
def test_what_could_run_code_is_refused_before_it_does(
    torch: ModuleType, saved: Path, tmp_path: Path, place: str
) -> None:
    bomb = tmp_path / "went-off"
    path = rewrite(saved, tmp_path / "net.pt2", lambda records: plant(records, bomb, place))
    with pytest.raises(ModelError, match=r"net\.pt2") as caught:
        read_program(torch, path)
    assert "torch.export.save" in caught.value.hint
    assert not bomb.exists()


def test_example_inputs_are_never_unpickled(torch: ModuleType, saved: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "went-off"
    path = rewrite(saved, tmp_path / "net.pt2", lambda records: plant(records, bomb, "inputs"))
    program = read_program(torch, path)
    assert program.example_inputs is None
    assert program.module()(torch.ones(2, 3, 6, 6)).shape == (2, 5)
    assert not bomb.exists()


def test_an_archive_that_was_only_packed_again_is_read(torch: ModuleType, saved: Path, tmp_path: Path) -> None:
    """So that the refusals above are of what was planted."""
    assert read_program(torch, rewrite(saved, tmp_path / "net.pt2", lambda _: None)).graph_signature.user_inputs


def test_a_program_in_training_mode_is_refused(torch: ModuleType, net: torch.nn.Module, tmp_path: Path) -> None:
    net.train()
    try:
        program = torch.export.export(net, (torch.ones(2, 3, 6, 6),))
    finally:
        net.eval()
    torch.export.save(program, tmp_path / "learning.pt2")
    with pytest.raises(ModelError, match="training mode"):
        read_program(torch, tmp_path / "learning.pt2")
    with pytest.raises(ModelError, match=r"training mode.*dropout|training mode.*batch_norm"):
        export_module(program, (), tmp_path / "m.onnx")


def test_what_is_no_program_is_said_to_be_none(
    torch: ModuleType, net: torch.nn.Module, saved: Path, tmp_path: Path
) -> None:
    torch.save(net.state_dict(), tmp_path / "weights.pt2")
    (tmp_path / "text.pt2").write_text("no archive")
    (tmp_path / "cut.pt2").write_bytes(saved.read_bytes()[:-2000])
    (tmp_path / "folder.pt2").mkdir()
    for name in ("weights", "text", "cut", "folder", "missing"):
        with pytest.raises(ModelError, match=rf"{name}\.pt2"):
            read_program(torch, tmp_path / f"{name}.pt2")


@pytest.mark.parametrize(
    "size", ["s0", "Symbol('s77', positive=True, integer=True)", "FloorDiv(s0, 2) + 1", "Float('1.5')"]
)
def test_arithmetic_is_let_through(size: str) -> None:
    assert is_arithmetic(size)


@pytest.mark.parametrize(
    "size",
    [
        "open('x')",
        "s0.__class__",
        "(lambda: 1)()",
        "[x for x in (1,)]",
        "Symbol('a b')",
        "lambdify(s0, s0)",
        "s0 if s1",
        "",
    ],
)
def test_what_is_no_arithmetic_is_not(size: str) -> None:
    assert not is_arithmetic(size)
