"""Counters of energy that a machine may have: RAPL, NVML, and the power monitors of a Jetson.

RAPL and NVML cover the whole package or device, a Jetson's monitor the whole board: other processes count, too, and so
does what the machine draws when it is idle. Importing this takes little memory: it runs beside what is measured.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

POWERCAP = Path("sys/class/powercap")
MONITORS = Path("sys/bus/i2c/drivers")
MONITOR_NAMES = ("ina3221", "ina3221x")
INPUT_RAILS = ("VDD_IN", "POM_5V_IN", "5V_IN")
"""Rails that the whole board draws from, by the module's generation."""
SUMMED_RAILS = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
"""On an AGX Orin no rail covers the board: these together do."""
SAMPLE_SECONDS = 0.05
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


class MonitorMeter:
    """Power monitors of a board (TI INA3221), which tell the power of now: read 20 times a second and added up.

    The kernel's driver gives each channel's voltage and current (Linux, Documentation/hwmon/ina3221.rst); NVIDIA's
    older one gives its power. A thread of this process reads them until the process ends.

    Args:
        read_watts: the power of now.
        clock: wall time in seconds.
        sample_s: between two readings; 0 reads only when asked.

    Raises:
        OSError: a monitor cannot be read.
    """

    def __init__(
        self,
        read_watts: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        sample_s: float = SAMPLE_SECONDS,
    ) -> None:
        self._read_watts, self._clock, self._lock = read_watts, clock, threading.Lock()
        self._watts, self._time, self._joules = read_watts(), clock(), 0.0
        self._sample_s = sample_s
        if sample_s > 0:
            threading.Thread(target=self._watch, name="power", daemon=True).start()

    def read_joules(self) -> float:
        """Energy of the board since the meter was made, by the trapezoids between the readings."""
        with self._lock:
            watts, now = self._read_watts(), self._clock()
            self._joules += (watts + self._watts) / 2 * (now - self._time)
            self._watts, self._time = watts, now
            return self._joules

    def _watch(self) -> None:
        while True:
            time.sleep(self._sample_s)
            try:
                self.read_joules()
            except (OSError, ValueError):
                # The next reading by the one who measures says so.
                return


def find_energy_meter(device: str = "cpu", root: Path = Path("/")) -> tuple[EnergyMeter | None, str]:
    """A meter for a device, or None and the reason in words.

    Args:
        device: ``cpu`` or ``cuda:0``, ...
        root: of the file system that ``sys`` stands in.
    """
    board, why = _find_monitors(root)
    if board is not None or why:
        # CPU and GPU of such a board are one chip, which no other counter covers.
        return board, why
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


def _find_monitors(root: Path) -> tuple[EnergyMeter | None, str]:
    """The meter of a board with power monitors; None and no words where it has none."""
    channels = _list_channels(root)
    named = [read for rail, read in channels if rail in INPUT_RAILS][:1]
    if not named and {rail for rail, _ in channels} >= set(SUMMED_RAILS):
        named = [read for rail, read in channels if rail in SUMMED_RAILS]
    if not channels:
        return None, ""
    if not named:
        rails = ", ".join(sorted(rail for rail, _ in channels))
        return None, f"{NOT_MEASURABLE}none of the power monitor's rails is known to feed the whole board: {rails}"
    try:
        return MonitorMeter(lambda: sum(read() for read in named)), ""
    except (OSError, ValueError) as error:
        return None, f"{NOT_MEASURABLE}the power monitor cannot be read: {error}"


def _list_channels(root: Path) -> list[tuple[str, Callable[[], float]]]:
    """Rails of all monitors by name, each with what reads its watts."""
    found: list[tuple[str, Callable[[], float]]] = []
    for name in MONITOR_NAMES:
        for label in sorted((root / MONITORS / name).glob("*/hwmon/hwmon*/in*_label")):
            number = label.name.removeprefix("in").removesuffix("_label")
            volts, current = label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input")
            if current.exists():
                found.append((_read_word(label), lambda v=volts, a=current: _read_number(v) * _read_number(a) / 1e6))  # type: ignore[misc] # the defaults bind the files
        for label in sorted((root / MONITORS / name).glob("*/iio:device*/rail_name_*")):
            power = label.with_name(f"in_power{label.name.removeprefix('rail_name_')}_input")
            found.append((_read_word(label), lambda p=power: _read_number(p) / 1e3))  # type: ignore[misc] # as above
    return found


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
    return _read_word(domain / "name").startswith("package")


def _read_word(path: Path) -> str:
    """Content without surrounding space; empty where the file cannot be read."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _read_number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
