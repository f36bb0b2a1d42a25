"""What a processor offers to compiled code: its vectors and its dot products; and how TVM is told of it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from typing import Any

from assay.backends.tvm.vendor import load_compiler
from assay.core.errors import BackendUnavailable

LINUX = "unknown-linux-gnu"
X86 = "x86_64"
ARM = "aarch64"


@dataclass(frozen=True, slots=True)
class Machine:
    """A processor to compile for.

    Attributes:
        triple: of LLVM.
        cpu: LLVM's name of its level.
        features: that LLVM may use beyond the level, each with its plus sign.
        lanes: 32-bit elements in its widest vectors, a power of two.
        accumulators: vectors that a kernel may hold its sums in.
        dot: it adds four products of 8-bit numbers to a 32-bit sum in one instruction.
    """

    triple: str
    cpu: str
    features: tuple[str, ...]
    lanes: int
    accumulators: int
    dot: bool

    @property
    def architecture(self) -> str:
        """Such as ``x86_64``."""
        return self.triple.partition("-")[0]

    @property
    def encoding(self) -> str:
        """Element type in which its dot product takes activations; those of another are re-encoded without loss."""
        return "int8" if self.architecture == ARM else "uint8"

    def make_target(self, threads: int = 1) -> Any:  # noqa: ANN401 - the vendor's object has no types
        """TVM's description, for code that runs on so many threads."""
        module = load_compiler("target")
        text = {"kind": "llvm", "mtriple": self.triple, "mcpu": self.cpu, "num-cores": threads}
        return module.Target(text | ({"mattr": list(self.features)} if self.features else {}))


PLAIN_X86 = Machine(f"{X86}-{LINUX}", "x86-64-v2", (), 4, 8, dot=False)
ARM_DOT = Machine(f"{ARM}-{LINUX}", "generic", ("+neon", "+dotprod", "+v8.2a"), 4, 16, dot=True)
ARM_PLAIN = Machine(f"{ARM}-{LINUX}", "generic", ("+neon",), 4, 16, dot=False)

BOARDS = {"aarch64": ARM_PLAIN, "aarch64-dotprod": ARM_DOT, "x86-64": PLAIN_X86}
"""Names of processors to compile for from elsewhere: Arm of 2011 (Raspberry Pi 3, 4), with dot products (5), x86."""


def describe_x86(features: frozenset[str]) -> Machine:
    """The widest of four levels that a CPU with these features (LLVM's names) has."""
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= features:
        dot = "avx512vnni" in features
        return Machine(f"{X86}-{LINUX}", "x86-64-v4", ("+avx512vnni",) if dot else (), 16, 16, dot=dot)
    if {"avx2", "fma"} <= features:
        dot = "avxvnni" in features
        return Machine(f"{X86}-{LINUX}", "x86-64-v3", ("+avxvnni",) if dot else (), 8, 12, dot=dot)
    return PLAIN_X86


@cache
def find_machine() -> Machine:
    """The processor of this machine.

    Raises:
        BackendUnavailable: TVM is missing, or Assay's kernels know nothing of this architecture.
    """
    module = load_compiler("target.codegen")
    name = platform.machine().lower()
    features = frozenset(str(item) for item in module.llvm_get_cpu_features(_ask_here()))
    if name in {"x86_64", "amd64"}:
        return describe_x86(features)
    if name in {"aarch64", "arm64"}:
        return ARM_DOT if "dotprod" in features else ARM_PLAIN
    raise BackendUnavailable(f"compiled kernels for {name} are not known", "use another runtime on this machine")


def _ask_here() -> Any:  # noqa: ANN401 - as above
    codegen = load_compiler("target.codegen")
    return load_compiler("target").Target({"kind": "llvm", "mcpu": str(codegen.llvm_get_system_cpu())})
