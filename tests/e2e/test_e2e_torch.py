"""PyTorch models through the product: a module, a saved program, and a function that gives one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from study_samples import call_assay, run_assay

import assay
from assay.core.errors import RequestError

pytestmark = pytest.mark.filterwarnings("default")
OPTIONS = ("--task", "classification", "--precisions", "fp32", "--runtimes", "onnxruntime", "--latency-seconds", "0.3")
NETWORK = """
import torch

def make():
    torch.manual_seed(6)
    conv = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
    return torch.nn.Sequential(conv, torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(8 * 36, 7))

def give():
    return make(), torch.zeros(2, 3, 8, 8)
"""


@pytest.fixture(scope="module", name="torch")
def import_torch() -> ModuleType:
    return pytest.importorskip("torch", reason="PyTorch is an extra")


@pytest.fixture
def network(torch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's in the working directory."""
    (tmp_path / "e2e_network.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "e2e_network", raising=False)
    assert torch.__version__
    return __import__("e2e_network")


def make_items(
    torch: ModuleType, network: ModuleType, count: int
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    data = np.random.default_rng().standard_normal((count, 3, 8, 8)).astype(np.float32)
    with torch.no_grad():
        scores = network.make().eval()(torch.from_numpy(data)).numpy()
    return {"input": data, "target": scores.argmax(axis=1).astype(np.int64), "scores": scores}


def hold(torch: ModuleType, network: ModuleType, release: Path) -> None:
    """The release computes what torch computes, on fresh input."""
    items = make_items(torch, network, 6)
    found = assay.load(release).run({"input": items["input"]})
    np.testing.assert_allclose(next(iter(found.values())), items["scores"], rtol=1e-4, atol=1e-5)


def test_a_module_is_studied_from_python(torch: ModuleType, network: ModuleType, tmp_path: Path) -> None:
    items = make_items(torch, network, 120)
    study = assay.study(
        network.make(),
        example_inputs=(torch.zeros(1, 3, 8, 8),),
        task="classification",
        evaluation={name: items[name] for name in ("input", "target")},
        tolerance="top3: 10pp",
        output=tmp_path / "S",
        precisions=["fp32"],
        runtimes=["onnxruntime"],
        latency_seconds=0.3,
    )
    assert study.decision.status == "chosen"
    assert study.trials[0]["metric"] == "top3"
    assert study.trials[0]["value"] == 1.0
    study.release(tmp_path / "R")
    hold(torch, network, tmp_path / "R")


def test_a_program_and_a_function_are_studied_from_the_command_line(
    torch: ModuleType, network: ModuleType, tmp_path: Path
) -> None:
    items = make_items(torch, network, 120)
    np.savez(tmp_path / "items.npz", input=items["input"], target=items["target"])
    axes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(network.make().eval(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes=axes)
    torch.export.save(program, tmp_path / "network.pt2")
    asked = (*OPTIONS, "--evaluation", "items.npz", "--tolerance", "top1: 10pp")
    for model, folder, run in (("network.pt2", "program", call_assay), ("e2e_network:give", "function", run_assay)):
        ran = run("study", model, *asked, "--output", folder, cwd=tmp_path)
        assert ran.status == 0, ran.err
        assert call_assay("release", folder, f"{folder}-release", cwd=tmp_path).status == 0
        hold(torch, network, tmp_path / f"{folder}-release")


def test_a_checkpoint_is_refused_without_opening_it(torch: ModuleType, network: ModuleType, tmp_path: Path) -> None:
    torch.save(network.make(), tmp_path / "network.pt")
    torch.save(network.make().state_dict(), tmp_path / "weights.pt2")
    for name in ("network.pt", "weights.pt2"):
        asked = (*OPTIONS, "--evaluation", "x.npz", "--tolerance", "top1: 1pp", "--output", "S")
        ran = call_assay("study", name, *asked, cwd=tmp_path)
        assert ran.status == 2
        assert name in ran.err
        assert "hint:" in ran.err


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="a int"):
        assay.study(3, task="classification", evaluation="x.npz", tolerance="top1: 1pp", output=tmp_path / "S")
