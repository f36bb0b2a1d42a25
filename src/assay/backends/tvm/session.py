"""A running TVM artifact."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from assay.backends.feeds import explain_mismatch, is_native
from assay.backends.model_files import MODEL_FILE
from assay.backends.tvm.audit import audit_products
from assay.backends.tvm.engine import Engine, Shapes, find_pool, load_library
from assay.backends.tvm.errors import mapped_errors
from assay.backends.tvm.products import Product
from assay.backends.tvm.settings import Settings
from assay.core.audit import ExecutionAudit
from assay.core.errors import BuildFailed, RunFailed
from assay.core.target import Target
from assay.core.tensor import Feeds, Outputs, Signature

MOST_ENGINES = 64
"""Shapes that a session keeps compiled code for; the one that was compiled first goes first."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """An engine with what is known of its code."""

    engine: Engine
    products: tuple[Product, ...]
    functions: tuple[str, ...]


class TvmSession:
    """An opened artifact: libraries at the shapes that it was built for, and the model to compile at others.

    Args:
        built: the built folder.
        settings: of the folder.
        target: threads.

    Raises:
        BuildFailed: a library is missing or damaged.
    """

    def __init__(self, built: Path, settings: Settings, target: Target) -> None:
        self._built, self._settings, self._target = built, settings, target
        self._signature = Signature(settings.inputs, settings.outputs)
        self._types = {spec.name: spec.dtype for spec in settings.inputs}
        self._engines: dict[Shapes, _Loaded] | None = {}
        for library in settings.libraries:
            if library.linked:
                engine = Engine(load_library(built / library.file), self._signature, library.shapes)
                self._engines[library.shapes] = _Loaded(engine, library.products, library.functions)
        if not self._engines and not (built / MODEL_FILE).is_file():
            raise BuildFailed(f"{built} holds neither a library nor a model", "build it again")

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as the ONNX model states them."""
        return self._signature

    def run(self, feeds: Feeds) -> Outputs:
        """One call; compiles the model first where these shapes are new.

        Raises:
            RunFailed: the session is closed, the feeds do not fit, TVM cannot compile their shapes, or it failed.
        """
        found = self._find(feeds)
        find_pool().use(self._target.threads)
        return found.engine.run(feeds)

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """Outputs of many calls, one after the other: a virtual machine of TVM's runs one call at a time."""
        return map(self.run, batches)

    def bind(self, feeds: Feeds) -> Callable[[], None]:
        """A call to make again and again with these feeds, whose inputs and outputs stay in TVM's memory.

        Raises:
            RunFailed: as ``run``.
        """
        found, threads = self._find(feeds), self._target.threads
        pool, engine = find_pool(), found.engine
        with mapped_errors(RunFailed, "TVM failed"):
            engine.fill(feeds)

        def call() -> None:
            pool.use(threads)
            with mapped_errors(RunFailed, "TVM failed"):
                engine.repeat()

        return call

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        """Precision and kernel per product, as they were compiled for the shapes of these feeds.

        Raises:
            RunFailed: as ``run``.
        """
        self.run(feeds)
        found = self._find(feeds)
        return audit_products(found.products, found.functions)

    def close(self) -> None:
        """Give the memory back; closing twice does nothing."""
        self._engines = None

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _find(self, feeds: Feeds) -> _Loaded:
        """Compiled code for the shapes of feeds that fit the model."""
        engines = self._engines
        if engines is None:
            raise RunFailed(f"the session of {self._built} is closed", "open the artifact again")
        if self._fits(feeds):
            shapes = tuple(feeds[name].shape for name in self._types)
            found = engines.get(shapes)
            if found is not None:
                return found
        mismatch = explain_mismatch(self._signature, feeds)
        if mismatch:
            raise RunFailed(mismatch, "give the inputs that the model expects")
        return self._compile(engines, shapes)

    def _fits(self, feeds: Feeds) -> bool:
        """Whether these are arrays of the inputs' names and types."""
        if feeds.keys() != self._types.keys():
            return False
        arrays = all(getattr(feeds[name], "dtype", "") == kind for name, kind in self._types.items())
        return arrays and is_native(feeds)

    def _compile(self, engines: dict[Shapes, _Loaded], shapes: Shapes) -> _Loaded:
        """Compile the model for new shapes and keep the code."""
        path = self._built / MODEL_FILE
        if not path.is_file():
            known = ", ".join(str([list(shape) for shape in one]) for one in engines)
            raise RunFailed(f"{self._built} is compiled for {known} alone", "feed these shapes, or build for others")
        from assay.backends.tvm.building import compile_file  # noqa: PLC0415 - the compiler is not needed until now

        sizes = dict(zip(self._types, shapes, strict=True))
        try:
            compiled = compile_file(path, sizes, self._settings.machine, self._target.threads)
            engine = Engine(compiled.executable, self._signature, shapes)
        except BuildFailed as err:
            listed = ", ".join(f"{name} {list(shape)}" for name, shape in sizes.items())
            raise RunFailed(f"{err.message} (for {listed})", err.hint) from err
        if len(engines) >= MOST_ENGINES:
            del engines[next(iter(engines))]
        engines[shapes] = _Loaded(engine, compiled.products, compiled.functions)
        return engines[shapes]
