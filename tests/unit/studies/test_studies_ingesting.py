from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx.reference
import pytest

from assay.core.errors import ModelError, RequestError
from assay.core.precision import Precision
from assay.core.requirements import Requirements, Tolerance
from assay.data.source import DataSource
from assay.studies.ingesting import ingest_model
from assay.studies.progress import Silent
from assay.studies.request import StudyRequest

pytestmark = pytest.mark.filterwarnings("default")
NETS = """
import torch

class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = torch.nn.Linear(3, 4), torch.nn.Linear(2, 4)

    def forward(self, left, right):
        return torch.relu(self.left(left)) + self.right(right)

def by_place():
    torch.manual_seed(1)
    return Two(), (torch.ones(2, 3), torch.ones(2, 2))

def by_name():
    torch.manual_seed(1)
    return Two(), {"left": torch.ones(2, 3), "right": torch.ones(2, 2)}

def alone():
    return torch.nn.Linear(3, 2), torch.ones(2, 3)

def program():
    axes = ({0: torch.export.Dim("n")},)
    return torch.export.export(torch.nn.Linear(3, 2), (torch.ones(4, 3),), dynamic_shapes=axes)

def bare():
    return Two()

def number():
    return 3

def broken():
    raise FileNotFoundError("weights.pt is missing")

def arrays():
    return Two(), (1.0, 2.0)
"""


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    return pytest.importorskip("torch", reason="PyTorch is an extra")


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ingested_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "ingested_nets", raising=False)
    return tmp_path


def ask(model: str | Path, output: Path) -> StudyRequest:
    requirements = Requirements(Tolerance.parse("top1: 1pp"))
    precisions = (Precision.FP32,)
    return StudyRequest(Path(model), output, "classification", DataSource("e.npz"), requirements, precisions=precisions)


def ingest(model: str | Path, output: Path) -> Path:
    return ingest_model(ask(model, output), Silent()).model


def test_an_onnx_file_is_taken_as_it_is(tmp_path: Path) -> None:
    asked = ask("models/net.onnx", tmp_path / "S")
    assert ingest_model(asked, Silent()) == asked
    assert not (tmp_path / "S").exists()


def test_a_function_gives_a_module(torch: ModuleType, nets: Path) -> None:
    paths = [ingest(f"ingested_nets:{name}", nets / "S") for name in ("by_place", "by_name")]
    assert paths == [nets / "S" / "by_place.onnx", nets / "S" / "by_name.onnx"]
    rng = np.random.default_rng()
    feeds = {"left": rng.normal(0, 1, (5, 3)).astype(np.float32), "right": rng.normal(0, 1, (5, 2)).astype(np.float32)}
    module = sys.modules["ingested_nets"].by_place()[0]
    with torch.no_grad():
        wanted = module(**{name: torch.from_numpy(value) for name, value in feeds.items()}).numpy()
    for path in paths:
        found = onnx.reference.ReferenceEvaluator(str(path)).run(None, feeds)[0]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("torch")
def test_a_function_may_give_one_tensor_or_a_program(nets: Path) -> None:
    for name in ("alone", "program"):
        assert ingest(f"ingested_nets:{name}", nets / "S").exists()


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("bare", "gives a Two"),
        ("number", "gives a int"),
        ("broken", "weights.pt is missing"),
        ("arrays", "example input 0 is float, no tensor"),
        ("nothing", "has no function 'nothing'"),
    ],
)
def test_a_function_that_gives_no_module_is_refused(nets: Path, name: str, problem: str) -> None:
    with pytest.raises(RequestError, match=problem):
        ingest(f"ingested_nets:{name}", nets / "S")


def test_a_program_is_exported_once(torch: ModuleType, tmp_path: Path) -> None:
    net = torch.nn.Linear(3, 2).eval()
    torch.export.save(torch.export.export(net, (torch.ones(4, 3),)), tmp_path / "net.pt2")
    path = ingest(tmp_path / "net.pt2", tmp_path / "S")
    assert path == tmp_path / "S" / "net.onnx"
    first = path.stat().st_mtime_ns
    assert ingest(tmp_path / "net.pt2", tmp_path / "S").stat().st_mtime_ns == first
    path.write_bytes(b"damaged")
    assert ingest(tmp_path / "net.pt2", tmp_path / "S").stat().st_size > 100
    torch.export.save(torch.export.export(torch.nn.Linear(3, 5), (torch.ones(4, 3),)), tmp_path / "net.pt2")
    shape = onnx.load(ingest(tmp_path / "net.pt2", tmp_path / "S")).graph.output[0].type.tensor_type.shape
    assert shape.dim[1].dim_value == 5


def test_a_program_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"none\.pt2 does not exist"):
        ingest(tmp_path / "none.pt2", tmp_path / "S")
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "net.pt2").write_bytes(b"PK")
    for model in (tmp_path / "net.pt2", "json:loads"):
        with pytest.raises(RequestError) as caught:
            ingest_model(replace(ask(model, tmp_path / "S"), title="x"), Silent())
        assert "pip install 'assay-precision[torch]'" in caught.value.hint
