"""Energy, where the machine has a readable counter: RAPL for the CPU, NVML for CUDA devices.

Both counters cover the whole package or device, other processes included: measure on an otherwise idle machine.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from assay.core.errors import MeasurementError
from assay.core.estimate import Estimate
from assay.core.session import Session
from assay.core.tensor import Feeds
from assay.measure.latency import NS_PER_S, Clock
from assay.measure.statistics.quantile import estimate_quantile
from assay.measure.throughput import count_items

POWERCAP = Path("sys/class/powercap")
BLOCKS = 10
NOT_MEASURABLE = "not measurable here: "


class EnergyMeter(Protocol):
    """A counter of energy."""

    def read_joules(self) -> float:
        """Energy since the meter was made; read it at least once a minute, since the hardware's counter wraps."""
        ...


class RaplMeter:
    """Sum over the processor packages (Linux, Documentation/power/powercap/powercap.rst).

    Args:
        domains: folders of the packages, each with ``energy_uj`` and ``max_energy_range_uj``.

    Raises:
        OSError: a counter cannot be read.
    """

    def __init__(self, domains: Sequence[Path]) -> None:
        self._domains = tuple(domains)
        self._ranges = [_read_number(domain / "max_energy_range_uj") for domain in domains]
        self._last = [_read_number(domain / "energy_uj") for domain in domains]
        self._total_uj = 0

    def read_joules(self) -> float:
        """Energy of all packages since the meter was made."""
        for index, domain in enumerate(self._domains):
            now = _read_number(domain / "energy_uj")
            step = now - self._last[index]
            self._total_uj += step if step >= 0 else step + self._ranges[index]
            self._last[index] = now
        return self._total_uj / 1e6


class NvmlMeter:
    """One CUDA device, by the driver's own counter (``nvmlDeviceGetTotalEnergyConsumption``, Volta and later)."""

    def __init__(self, nvml: Any, index: int) -> None:  # noqa: ANN401 - the vendor's module has no types
        self._nvml = nvml
        self._device = nvml.nvmlDeviceGetHandleByIndex(index)
        self._first_mj = int(nvml.nvmlDeviceGetTotalEnergyConsumption(self._device))

    def read_joules(self) -> float:
        """Energy of the device since the meter was made."""
        return (int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._device)) - self._first_mj) / 1e3


def find_energy_meter(device: str = "cpu", root: Path = Path("/")) -> tuple[EnergyMeter | None, str]:
    """A meter for a device, or None and the reason in words.

    Args:
        device: ``cpu`` or ``cuda:0``, ...
        root: of the file system that ``sys`` stands in.
    """
    if device.startswith("cuda"):
        return _find_nvml(int(device.partition(":")[2] or 0))
    folder = root / POWERCAP
    if not folder.is_dir():
        return None, f"{NOT_MEASURABLE}the system has no energy counters (no {folder})"
    domains = [d for d in sorted(folder.iterdir()) if re.fullmatch(r"intel-rapl:\d+", d.name) and _is_package(d)]
    if not domains:
        return None, f"{NOT_MEASURABLE}{folder} has no processor package"
    try:
        return RaplMeter(domains), ""
    except (OSError, ValueError) as error:
        return None, f"{NOT_MEASURABLE}the energy counter cannot be read: {error}"


def measure_energy(
    meter: EnergyMeter,
    session: Session,
    feeds: Feeds,
    *,
    seconds: float,
    confidence: float = 0.95,
    clock: Clock = time.perf_counter_ns,
) -> Estimate:
    """Joules per item of calls back to back: the median of some blocks.

    Raises:
        MeasurementError: the counter stood still.
        RunFailed: the session failed.
    """
    items = count_items(feeds)
    session.run(feeds)
    joules: list[float] = []
    for _ in range(BLOCKS):
        stop = clock() + seconds / BLOCKS * NS_PER_S
        before, calls = meter.read_joules(), 0
        while calls == 0 or clock() < stop:
            session.run(feeds)
            calls += 1
        joules.append((meter.read_joules() - before) / calls / items)
    if not any(joules):
        raise MeasurementError(f"the energy counter did not move in {seconds:g} s", "measure for longer")
    return estimate_quantile(joules, 0.5, confidence, "J")


def _find_nvml(index: int) -> tuple[EnergyMeter | None, str]:
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return None, f"{NOT_MEASURABLE}the package nvidia-ml-py is not installed"
    try:
        nvml.nvmlInit()
        return NvmlMeter(nvml, index), ""
    except nvml.NVMLError as error:
        return None, f"{NOT_MEASURABLE}NVML says: {error}"


def _is_package(domain: Path) -> bool:
    """A processor package, and not the whole platform, which contains it."""
    try:
        return (domain / "name").read_text(encoding="ascii").startswith("package")
    except OSError:
        return False


def _read_number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
