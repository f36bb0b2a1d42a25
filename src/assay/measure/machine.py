"""What the machine is: processor, cores, memory, matrix units, devices. Read from the system, never guessed."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from assay.measure.cgroup import read_cpu_quota, read_memory_limit
from assay.measure.cuda import CudaDevice, find_cuda_devices


class MatrixUnit(StrEnum):
    """Instructions that matter to low-precision arithmetic."""

    AVX2 = "avx2"
    AVX512 = "avx512"
    AVX_VNNI = "avx_vnni"
    AVX_VNNI_INT8 = "avx_vnni_int8"
    AVX512_VNNI = "avx512_vnni"
    AVX512_BF16 = "avx512_bf16"
    AVX512_FP16 = "avx512_fp16"
    AMX_INT8 = "amx_int8"
    AMX_BF16 = "amx_bf16"
    AMX_FP16 = "amx_fp16"
    NEON = "neon"
    NEON_FP16 = "neon_fp16"
    NEON_DOTPROD = "neon_dotprod"
    NEON_I8MM = "neon_i8mm"
    NEON_BF16 = "neon_bf16"
    SVE = "sve"
    SME = "sme"


X86_FLAGS: Mapping[str, MatrixUnit] = {
    "avx2": MatrixUnit.AVX2,
    "avx512f": MatrixUnit.AVX512,
    "avx_vnni": MatrixUnit.AVX_VNNI,
    "avx_vnni_int8": MatrixUnit.AVX_VNNI_INT8,
    "avx512_vnni": MatrixUnit.AVX512_VNNI,
    "avx512_bf16": MatrixUnit.AVX512_BF16,
    "avx512_fp16": MatrixUnit.AVX512_FP16,
    "amx_int8": MatrixUnit.AMX_INT8,
    "amx_bf16": MatrixUnit.AMX_BF16,
    "amx_fp16": MatrixUnit.AMX_FP16,
}
"""Names in the ``flags`` of ``/proc/cpuinfo`` (Linux, arch/x86/include/asm/cpufeatures.h)."""

ARM_FEATURES: Mapping[str, MatrixUnit] = {
    "asimd": MatrixUnit.NEON,
    "asimdhp": MatrixUnit.NEON_FP16,
    "asimddp": MatrixUnit.NEON_DOTPROD,
    "i8mm": MatrixUnit.NEON_I8MM,
    "bf16": MatrixUnit.NEON_BF16,
    "sve": MatrixUnit.SVE,
    "sme": MatrixUnit.SME,
}
"""Names in the ``Features`` of ``/proc/cpuinfo`` (Linux, Documentation/arch/arm64/elf_hwcaps.rst)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that measures.

    Attributes:
        cpu: model name of the processor.
        architecture: ``x86_64``, ``aarch64``, ...
        cores: logical cores that this process may use, by its affinity.
        quota_cores: cores' worth of time that the control group grants, or None where it sets no limit.
        memory_bytes: of the machine, or of the control group where that is less; None where unknown.
        system: operating system with its version.
        python: version of the interpreter.
        units: matrix units of the processor, in the order of the enumeration.
        units_known: False where the system does not list them, so that their absence says nothing.
        cuda_devices: CUDA devices.
        cuda_missing: why there are none, in words; empty where there are some.
    """

    cpu: str
    architecture: str
    cores: int
    quota_cores: float | None
    memory_bytes: int | None
    system: str
    python: str
    units: tuple[MatrixUnit, ...]
    units_known: bool
    cuda_devices: tuple[CudaDevice, ...]
    cuda_missing: str

    @property
    def fingerprint(self) -> str:
        """Hash of what speed depends on, 16 hex digits: equal on machines of the same kind, whatever their software."""
        facts = (self.cpu, self.architecture, self.cores, self.quota_cores, *self.units)
        devices = (device.name for device in self.cuda_devices)
        return hashlib.sha256("\n".join(map(str, (*facts, *devices))).encode()).hexdigest()[:16]

    def facts(self) -> Mapping[str, str]:
        """Name -> value in words, for people and for provenance."""
        quota = "" if self.quota_cores is None else f" (limited to {self.quota_cores:g} cores of time)"
        memory = "unknown" if self.memory_bytes is None else f"{self.memory_bytes / 2**30:.1f} GiB"
        absent = "none" if self.units_known else "unknown: the system does not list them"
        devices = ", ".join(device.describe() for device in self.cuda_devices)
        return {
            "cpu": self.cpu,
            "architecture": self.architecture,
            "cores": f"{self.cores}{quota}",
            "memory": memory,
            "matrix units": ", ".join(self.units) or absent,
            "cuda": devices or f"none: {self.cuda_missing}",
            "system": self.system,
            "python": self.python,
            "fingerprint": self.fingerprint,
        }


def describe_machine(root: Path = Path("/")) -> Machine:
    """Read what this machine is.

    Args:
        root: of the file system that ``proc`` and ``sys`` stand in.
    """
    listing = read_cpuinfo(root / "proc/cpuinfo")
    flags = set(listing.get("flags", "").split()) | set(listing.get("features", "").split())
    names = {**X86_FLAGS, **ARM_FEATURES} if flags else {}
    found = {unit for flag, unit in names.items() if flag in flags}
    devices, missing = find_cuda_devices()
    architecture = platform.machine()
    return Machine(
        cpu=listing.get("model name") or _name_arm(listing) or platform.processor() or architecture,
        architecture=architecture,
        cores=count_usable_cores(),
        quota_cores=read_cpu_quota(root),
        memory_bytes=read_memory_bytes(root),
        system=platform.platform(),
        python=platform.python_version(),
        units=tuple(unit for unit in MatrixUnit if unit in found),
        units_known=bool(flags),
        cuda_devices=devices,
        cuda_missing=missing,
    )


def read_cpuinfo(path: Path) -> Mapping[str, str]:
    """The first processor's entries of a ``/proc/cpuinfo``, keys in lower case; empty where there is no such file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if separator:
            found.setdefault(key.strip().lower(), value.strip())
    return found


def count_usable_cores() -> int:
    """Logical cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_memory_bytes(root: Path) -> int | None:
    """Memory that this process may use: the machine's, or its control group's where that is less."""
    limit = read_memory_limit(root)
    try:
        text = (root / "proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return limit
    total = next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemTotal:")), None)
    known = [size for size in (limit, total) if size is not None]
    return min(known) if known else None


def _name_arm(listing: Mapping[str, str]) -> str:
    """Arm's processors are listed by number: implementer and part (Arm ARM, MIDR_EL1)."""
    if "cpu part" not in listing:
        return ""
    return f"Arm implementer {listing.get('cpu implementer', '?')} part {listing['cpu part']}"
