"""Apache TVM as a backend of Assay."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from assay.backends.backend import Availability, Support
from assay.backends.model_files import copy_model, read_signature
from assay.backends.tvm.building import (
    check_operators,
    compile_file,
    explain_missing,
    find_linker,
    find_shapes,
    write_library,
)
from assay.backends.tvm.machine import BOARDS, Machine, find_machine
from assay.backends.tvm.plans import list_dialects, refuse_plan
from assay.backends.tvm.session import TvmSession
from assay.backends.tvm.settings import Library, Settings
from assay.backends.tvm.vendor import INSTALL, load_tvm
from assay.core.errors import BackendUnavailable, BuildFailed, UnsupportedPlan
from assay.core.plan import IntegerDialect, Plan
from assay.core.precision import CastStyle, Precision
from assay.core.session import Session
from assay.core.target import Target

HERE = "cpu"
PACKAGES = {"tvm": "apache-tvm", "tvm-ffi": "apache-tvm-ffi"}


class TvmBackend:
    """Apache TVM on the CPU of this machine; for processors that are not here it builds.

    A model is compiled at fixed shapes: ahead of time at those of the target, into a library that needs TVM's runtime
    alone; and at others when they are first fed, which needs the compiler and takes seconds.
    """

    @property
    def name(self) -> str:
        """Its name in the table."""
        return "tvm"

    @property
    def shaped(self) -> bool:
        """Artifacts are compiled ahead for the shapes of the study."""
        return True

    def probe(self) -> Availability:
        """Whether TVM is installed and knows this processor; never raises."""
        try:
            found = str(load_tvm().__version__)
            find_machine()
        except BackendUnavailable as err:
            return Availability(available=False, missing=err.message, remedy=err.hint)
        except (AttributeError, RuntimeError, ValueError) as err:
            text = " ".join(str(err).split())
            return Availability(available=False, missing=f"TVM is broken: {text}", remedy=INSTALL)
        return Availability(available=True, version=found, devices=(HERE,), builds=tuple(BOARDS))

    def dialects(self, target: Target) -> tuple[IntegerDialect, ...]:
        """u8 asymmetric activations, then s8 symmetric ones, with s8 weights per channel: our kernels take both."""
        self._find_machine(target)
        return list_dialects()

    def cast_style(self, precision: Precision, target: Target) -> CastStyle:
        """Graphs that are typed themselves."""
        del precision, target
        return CastStyle.TYPED

    def rests(self, target: Target) -> tuple[Precision, ...]:
        """FP32 alone: what is fused to an integer product is computed in registers."""
        del target
        return (Precision.FP32,)

    def supports(self, plan: Plan, target: Target) -> Support:
        """Whether our kernels have the plan's formats, and the processor is known."""
        try:
            self._find_machine(target)
        except BackendUnavailable as err:
            return Support(supported=False, reason=str(err))
        reason = refuse_plan(plan)
        return Support(supported=not reason, reason=reason)

    def build(self, model: Path, into: Path, plan: Plan, target: Target) -> None:
        """Compile a model at the target's shapes; keep it too where other shapes may be fed.

        Raises:
            BackendUnavailable: TVM is missing, or does not know the processor.
            UnsupportedPlan: see ``supports``.
            BuildFailed: TVM refuses the model; its words name the node or operator.
        """
        machine = self._find_machine(target)
        reason = refuse_plan(plan)
        if reason:
            raise UnsupportedPlan(reason, "choose another precision or runtime")
        signature = read_signature(model)
        shapes = find_shapes(signature, target)
        if shapes is None and target.device != HERE:
            message = f"the shapes of {model} are open, and another processor cannot compile them when they come"
            raise BuildFailed(message, "give the shapes of its inputs")
        libraries: tuple[Library, ...] = ()
        missing = ""
        if shapes is None:
            check_operators(model)
        else:
            linker = find_linker(machine, find_machine())
            compiled = compile_file(model, shapes, machine, target.threads)
            libraries = (write_library(compiled, shapes, into, linker),)
            missing = "" if linker else explain_missing(machine)
        fixed = all(isinstance(size, int) for spec in signature.inputs for size in spec.shape or (None,))
        if target.device == HERE and not (fixed and not missing):
            copy_model(model, into)
        settings = Settings(
            version=str(load_tvm().__version__),
            machine=machine,
            device=target.device,
            threads=target.threads,
            inputs=signature.inputs,
            outputs=signature.outputs,
            libraries=libraries,
            missing=missing,
        )
        settings.write(into)
        if target.device == HERE:
            self.open(into, target).close()

    def open(self, built: Path, target: Target) -> Session:
        """Open a built folder for running.

        Raises:
            BackendUnavailable: TVM is missing, or the artifact is for a processor that is not here.
            BuildFailed: TVM cannot load what was built.
        """
        load_tvm()
        settings = Settings.read(built)
        if target.device != HERE or settings.device != HERE:
            named = settings.device if target.device == HERE else target.device
            message = f"{built} is only built for {named}: this machine is none"
            raise BackendUnavailable(message, f"copy it to one; {settings.missing}".rstrip("; "))
        return TvmSession(built, settings, target)

    def versions(self) -> Mapping[str, str]:
        """TVM's version and that of its foreign function interface."""
        load_tvm()
        found = {}
        for name, package in PACKAGES.items():
            try:
                found[name] = version(package)
            except PackageNotFoundError:
                found[name] = str(load_tvm().__version__)
        return found

    def _find_machine(self, target: Target) -> Machine:
        """The processor that a target names.

        Raises:
            BackendUnavailable: TVM is missing, or it is not known.
        """
        load_tvm()
        if target.device == HERE:
            return find_machine()
        if target.device in BOARDS:
            return BOARDS[target.device]
        known = ", ".join((HERE, *BOARDS))
        raise BackendUnavailable(f"TVM does not compile for {target.device!r} here", f"name one of {known}")
