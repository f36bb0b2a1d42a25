"""A runtime that is installed like anybody's and fails on purpose: it crashes, hangs or eats memory where it is told.

Its names are ``FAULT-STAGE``, such as ``segfault-build``; beneath it is ONNX Runtime.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from assay.backends.backend import Availability, Support
from assay.backends.model_files import MODEL_FILE
from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.backends.onnxruntime.options import Settings
from assay.backends.onnxruntime.session import OnnxRuntimeSession
from assay.backends.settings import SETTINGS_FILE
from assay.core.audit import ExecutionAudit
from assay.core.plan import IntegerDialect, Plan
from assay.core.precision import CastStyle, Precision
from assay.core.session import Session
from assay.core.target import ServingMode, Target
from assay.core.tensor import Feeds, Outputs, Signature

if TYPE_CHECKING:  # every process of a study with these runtimes imports this file
    import pytest

FAULTS = ("segfault", "hang", "eat", "spawn")
STAGES = ("build", "run", "item", "time", "load")
MARKED = 1000.0
"""An item with such a value is the one that the stage ``item`` stumbles over."""
PROBED_CALLS = 40
"""More than a probe makes: what fails later fails while it is timed."""
MOST_EATEN = 40
"""Blocks of 64 MiB: an unlimited process ends here instead of ending the machine."""


def is_probe() -> bool:
    """Whether this is the process of the first opening, which repeats short calls for a while."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name == "assay.studies.worker"


def segfault() -> None:
    ctypes.string_at(0)


def hang() -> None:
    time.sleep(600)


def eat() -> None:
    blocks = []
    for _ in range(MOST_EATEN):
        blocks.append(np.ones(64 << 20, np.uint8))
        time.sleep(0.01)
    time.sleep(600)


def spawn() -> None:
    """Hang with a child, whose number is left behind where the test looks for it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(os.environ["FAULTY_CHILD"]).write_text(str(child.pid), encoding="ascii")
    hang()


FAIL: Mapping[str, Callable[[], None]] = {"segfault": segfault, "hang": hang, "eat": eat, "spawn": spawn}


class FaultySession:
    """A session that fails at its stage."""

    def __init__(self, inner: Session, fault: str, stage: str, target: Target) -> None:
        self._inner, self._stage, self._target = inner, stage, target
        self._fail, self._calls = FAIL[fault], 0

    @property
    def signature(self) -> Signature:
        return self._inner.signature

    def run(self, feeds: Feeds) -> Outputs:
        self._calls += 1
        if self._stage == "run" or (self._stage == "time" and self._calls > PROBED_CALLS and not is_probe()):
            self._fail()
        if self._stage == "item" and any(np.max(array, initial=0.0) >= MARKED for array in feeds.values()):
            self._fail()
        return self._inner.run(feeds)

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        if self._stage == "load" and self._target.mode is ServingMode.THROUGHPUT:
            self._fail()
        return map(self.run, batches)

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        return self._inner.executed(feeds)

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FaultyBackend:
    """ONNX Runtime that fails at a stage; nothing but FP32, so that each runtime has one trial."""

    def __init__(self, fault: str, stage: str) -> None:
        self._fault, self._stage = fault, stage
        self._inner = OnnxRuntimeBackend()

    @property
    def name(self) -> str:
        return f"{self._fault}-{self._stage}"

    def probe(self) -> Availability:
        return self._inner.probe()

    def dialects(self, target: Target) -> tuple[IntegerDialect, ...]:
        del target
        return ()

    def cast_style(self, precision: Precision, target: Target) -> CastStyle:
        return self._inner.cast_style(precision, target)

    def rests(self, target: Target) -> tuple[Precision, ...]:
        return self._inner.rests(target)

    def supports(self, plan: Plan, target: Target) -> Support:
        return self._inner.supports(plan, target)

    def build(self, model: Path, into: Path, plan: Plan, target: Target) -> None:
        if self._stage == "build":
            FAIL[self._fault]()
        self._inner.build(model, into, plan, target)
        # Smaller than what ONNX Runtime keeps, and so chosen before it where size counts.
        (into / SETTINGS_FILE).unlink()

    def open(self, built: Path, target: Target) -> Session:
        session = OnnxRuntimeSession(built / MODEL_FILE, target, Settings())
        return FaultySession(session, self._fault, self._stage, target)

    def versions(self) -> Mapping[str, str]:
        return {self.name: "1"}


def __getattr__(name: str) -> Callable[[], FaultyBackend]:
    fault, _, stage = name.partition("_")
    if fault not in FAULTS or stage not in STAGES:
        raise AttributeError(name)
    return partial(FaultyBackend, fault, stage)


def install_faulty(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every process that starts from now on find the runtimes, as an installed package would have it."""
    package = folder / "faulty_runtime-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-runtime\nVersion: 1\n", encoding="utf-8")
    names = [(fault, stage) for fault in FAULTS for stage in STAGES]
    lines = [f"{fault}-{stage} = faulty_runtime:{fault}_{stage}" for fault, stage in names]
    lines.append("unimportable = nowhere_to_be_found:Backend")
    entries = "\n".join(["[assay.backends]", *lines, ""])
    (package / "entry_points.txt").write_text(entries, encoding="utf-8")
    path = os.pathsep.join([str(folder), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path.rstrip(os.pathsep))
