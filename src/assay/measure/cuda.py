"""CUDA devices, as the driver's own tool lists them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

QUERY = ("name", "memory.total", "driver_version", "compute_cap")
SECONDS = 20


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """One device.

    Attributes:
        name: as the driver names it.
        memory_bytes: of the device; None where the driver does not tell.
        driver: version of the driver.
        compute_capability: such as ``8.9``.
    """

    name: str
    memory_bytes: int | None
    driver: str
    compute_capability: str

    def describe(self) -> str:
        """Name, memory and compute capability in words."""
        memory = "" if self.memory_bytes is None else f", {self.memory_bytes / 2**30:.0f} GiB"
        return f"{self.name}{memory}, compute capability {self.compute_capability}"


def find_cuda_devices() -> tuple[tuple[CudaDevice, ...], str]:
    """Devices, and where there are none the reason in words."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return (), "nvidia-smi is not installed, so there is no NVIDIA driver here"
    command = [tool, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603 - a fixed command
    except (OSError, subprocess.TimeoutExpired) as error:
        return (), f"nvidia-smi does not answer: {error}"
    devices = parse_devices(done.stdout) if done.returncode == 0 else ()
    if devices:
        return devices, ""
    said = (done.stdout or done.stderr).strip().partition("\n")[0]
    return (), f"nvidia-smi lists no device: {said or 'it says nothing'}"


def parse_devices(listing: str) -> tuple[CudaDevice, ...]:
    """Devices of a listing with one line per device, the fields of ``QUERY`` divided by commas, memory in MiB."""
    devices = []
    for line in listing.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == len(QUERY):
            memory = int(fields[1]) * 2**20 if fields[1].isdigit() else None
            devices.append(CudaDevice(fields[0], memory, fields[2], fields[3]))
    return tuple(devices)
