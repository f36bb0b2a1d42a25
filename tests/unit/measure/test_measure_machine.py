import dataclasses
import os
from pathlib import Path

import pytest

from assay.measure.cgroup import read_cpu_quota, read_memory_limit, read_memory_room
from assay.measure.cuda import CudaDevice, find_cuda_devices, parse_devices
from assay.measure.machine import MatrixUnit, describe_machine, read_memory_bytes

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni avx512_bf16 avx512_fp16 avx_vnni amx_tile amx_int8 amx_bf16

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
ARM = """processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd asimdhp asimddp sve i8mm bf16
CPU implementer\t: 0x41
CPU part\t: 0xd40
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_this_machine_is_described() -> None:
    machine = describe_machine()
    assert machine.cpu
    assert 1 <= machine.cores <= (os.cpu_count() or 1)
    assert machine.memory_bytes is None or machine.memory_bytes > 2**28
    assert machine.fingerprint == describe_machine().fingerprint
    assert set(machine.facts()) >= {"cpu", "cores", "memory", "matrix units", "system", "python", "fingerprint"}
    assert bool(machine.cuda_devices) != bool(machine.cuda_missing)


def test_matrix_units_of_an_x86_processor(tmp_path: Path) -> None:
    write(tmp_path / "proc/cpuinfo", X86)
    machine = describe_machine(tmp_path)
    assert machine.cpu == "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"
    assert machine.units_known
    assert machine.units == (
        MatrixUnit.AVX2,
        MatrixUnit.AVX512,
        MatrixUnit.AVX_VNNI,
        MatrixUnit.AVX512_VNNI,
        MatrixUnit.AVX512_BF16,
        MatrixUnit.AVX512_FP16,
        MatrixUnit.AMX_INT8,
        MatrixUnit.AMX_BF16,
    )


def test_matrix_units_of_an_arm_processor(tmp_path: Path) -> None:
    write(tmp_path / "proc/cpuinfo", ARM)
    machine = describe_machine(tmp_path)
    assert machine.cpu == "Arm implementer 0x41 part 0xd40"
    assert machine.units == (
        MatrixUnit.NEON,
        MatrixUnit.NEON_FP16,
        MatrixUnit.NEON_DOTPROD,
        MatrixUnit.NEON_I8MM,
        MatrixUnit.NEON_BF16,
        MatrixUnit.SVE,
    )


def test_a_system_that_lists_no_units_does_not_pass_for_one_without_any(tmp_path: Path) -> None:
    machine = describe_machine(tmp_path)
    assert not machine.units_known
    assert machine.units == ()
    assert "unknown" in machine.facts()["matrix units"]
    assert machine.memory_bytes is None


def test_the_fingerprint_follows_the_hardware_and_not_the_software() -> None:
    machine = describe_machine()
    assert dataclasses.replace(machine, python="3.99", system="other").fingerprint == machine.fingerprint
    assert dataclasses.replace(machine, cores=machine.cores + 1).fingerprint != machine.fingerprint
    assert dataclasses.replace(machine, units=()).fingerprint != machine.fingerprint


def test_limits_of_a_nested_group_of_version_two(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/pod/container\n")
    write(tmp_path / "sys/fs/cgroup/pod/cpu.max", "150000 100000\n")
    write(tmp_path / "sys/fs/cgroup/cpu.max", "max 100000\n")
    write(tmp_path / "sys/fs/cgroup/pod/container/cpu.max", "400000 100000\n")
    write(tmp_path / "sys/fs/cgroup/pod/memory.max", "max\n")
    write(tmp_path / "sys/fs/cgroup/pod/container/memory.max", f"{2**30}\n")
    assert read_cpu_quota(tmp_path) == 1.5
    assert read_memory_limit(tmp_path) == 2**30


def test_limits_of_a_container_that_sees_only_its_own_group(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/../elsewhere/abc\n")
    write(tmp_path / "sys/fs/cgroup/cpu.max", "50000 100000\n")
    assert read_cpu_quota(tmp_path) == 0.5


def test_limits_of_version_one(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "4:memory:/job\n2:cpu,cpuacct:/job\n")
    write(tmp_path / "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "300000\n")
    write(tmp_path / "sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    write(tmp_path / "sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n")
    assert read_cpu_quota(tmp_path) == 3.0
    assert read_memory_limit(tmp_path) is None


def test_memory_is_the_smaller_of_machine_and_group(tmp_path: Path) -> None:
    write(tmp_path / "proc/meminfo", "MemFree: 5 kB\nMemTotal:       4194304 kB\n")
    assert read_memory_bytes(tmp_path) == 4 * 2**30
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    write(tmp_path / "sys/fs/cgroup/memory.max", f"{2**30}\n")
    assert read_memory_bytes(tmp_path) == 2**30


def test_the_room_of_a_group_is_what_no_group_above_has_used(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/pod/container\n")
    pod, container = tmp_path / "sys/fs/cgroup/pod", tmp_path / "sys/fs/cgroup/pod/container"
    assert read_memory_room(tmp_path) is None
    write(container / "memory.max", f"{2**30}\n")
    write(container / "memory.current", f"{2**29}\n")
    assert read_memory_room(tmp_path) == 2**29
    write(container / "memory.stat", "anon 5\ninactive_file 1024\n")
    assert read_memory_room(tmp_path) == 2**29 + 1024
    write(pod / "memory.max", f"{2**28}\n")
    write(pod / "memory.current", f"{2**29}\n")
    assert read_memory_room(tmp_path) == 0


def test_the_room_of_version_one(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "4:memory:/job\n")
    group = tmp_path / "sys/fs/cgroup/memory/job"
    write(group / "memory.limit_in_bytes", "1000\n")
    write(group / "memory.usage_in_bytes", "700\n")
    write(group / "memory.stat", "inactive_file 1\ntotal_inactive_file 50\n")
    assert read_memory_room(tmp_path) == 350


def test_a_listing_of_devices_is_read() -> None:
    listing = "NVIDIA L4, 23034, 580.1, 8.9\nNVIDIA GB10, [N/A], 580.1, 12.1\nbroken\n"
    assert parse_devices(listing) == (
        CudaDevice("NVIDIA L4", 23034 * 2**20, "580.1", "8.9"),
        CudaDevice("NVIDIA GB10", None, "580.1", "12.1"),
    )
    assert parse_devices(listing)[0].describe() == "NVIDIA L4, 22 GiB, compute capability 8.9"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'NVIDIA L4, 23034, 580.1, 8.9'", ""),
        ("echo 'No devices were found'", "nvidia-smi lists no device: No devices were found"),
        ("echo broken >&2; exit 9", "nvidia-smi lists no device: broken"),
        ("exit 9", "nvidia-smi lists no device: it says nothing"),
    ],
)
def test_devices_are_those_the_drivers_tool_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: str
) -> None:
    write(tmp_path / "nvidia-smi", f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    devices, missing = find_cuda_devices()
    assert missing == expected
    assert bool(devices) == (not expected)


def test_a_machine_without_the_drivers_tool_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_cuda_devices() == ((), "nvidia-smi is not installed, so there is no NVIDIA driver here")
