import time
from pathlib import Path

import numpy as np
import pytest
from measure_samples import FunctionSession, SteppingClock

from assay.core.errors import MeasurementError
from assay.core.tensor import Array, Outputs
from assay.measure.energy import measure_energy
from assay.measure.meters import NOT_MEASURABLE, MonitorMeter, RaplMeter, find_energy_meter

MS = 1_000_000
FEEDS = {"x": np.zeros((4, 4), np.float32)}


def write_domain(root: Path, name: str, label: str, energy: int, largest: int = 1_000_000) -> Path:
    folder = root / "sys/class/powercap" / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "energy_uj").write_text(f"{energy}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    return folder


def test_packages_are_summed_and_their_parts_left_out(tmp_path: Path) -> None:
    one = write_domain(tmp_path, "intel-rapl:0", "package-0", 100)
    two = write_domain(tmp_path, "intel-rapl:1", "package-1", 200)
    part = write_domain(tmp_path, "intel-rapl:0:0", "core", 300)
    platform = write_domain(tmp_path, "intel-rapl:2", "psys", 400)
    meter, note = find_energy_meter("cpu", tmp_path)
    assert meter is not None
    assert note == ""
    for folder, energy in ((one, 500_100), (two, 250_200), (part, 999_999), (platform, 999_999)):
        (folder / "energy_uj").write_text(str(energy))
    assert meter.read_joules() == pytest.approx(0.75)


def test_a_counter_that_wraps_goes_on(tmp_path: Path) -> None:
    folder = write_domain(tmp_path, "intel-rapl:0", "package-0", 900_000)
    meter = RaplMeter([folder])
    for energy in (100_000, 700_000, 50_000):
        (folder / "energy_uj").write_text(str(energy))
        total = meter.read_joules()
    assert total == pytest.approx(0.2 + 0.6 + 0.35)


def test_a_machine_without_counters_says_so(tmp_path: Path) -> None:
    meter, note = find_energy_meter("cpu", tmp_path)
    assert meter is None
    assert note.startswith(NOT_MEASURABLE)
    assert "no energy counters" in note
    write_domain(tmp_path, "dtpm", "other", 1)
    assert find_energy_meter("cpu", tmp_path) == (
        None,
        f"{NOT_MEASURABLE}{tmp_path / 'sys/class/powercap'} has no processor package",
    )


def test_an_unreadable_counter_says_so(tmp_path: Path) -> None:
    folder = write_domain(tmp_path, "intel-rapl:0", "package-0", 1)
    (folder / "energy_uj").unlink()
    meter, note = find_energy_meter("cpu", tmp_path)
    assert meter is None
    assert "cannot be read" in note
    assert "energy_uj" in note


def write_rail(root: Path, number: int, rail: str, millivolts: int, milliamperes: int) -> Path:
    """A channel of a Jetson's monitor, as the kernel's driver shows it."""
    folder = root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (("in{}_label", rail), ("in{}_input", millivolts), ("curr{}_input", milliamperes)):
        (folder / name.format(number)).write_text(f"{value}\n")
    return folder


def test_a_board_is_measured_where_all_of_it_is_fed(tmp_path: Path) -> None:
    write_rail(tmp_path, 1, "VDD_IN", 5000, 1000)
    write_rail(tmp_path, 2, "VDD_CPU_GPU_CV", 5000, 400)
    meter, note = find_energy_meter("cuda:0", tmp_path)
    assert note == ""
    assert isinstance(meter, MonitorMeter)
    first = meter.read_joules()
    time.sleep(0.1)
    assert 0.4 <= meter.read_joules() - first < 2.5


def test_a_board_whose_rails_are_unknown_says_so(tmp_path: Path) -> None:
    write_rail(tmp_path, 1, "VDD_CAMERA", 5000, 1000)
    meter, note = find_energy_meter("cpu", tmp_path)
    assert meter is None
    assert "VDD_CAMERA" in note


def test_the_older_driver_tells_power(tmp_path: Path) -> None:
    folder = tmp_path / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    folder.mkdir(parents=True)
    (folder / "rail_name_0").write_text("POM_5V_IN")
    assert "cannot be read" in find_energy_meter("cpu", tmp_path)[1]
    (folder / "in_power0_input").write_text("4000")
    assert find_energy_meter("cpu", tmp_path)[0] is not None


def test_power_is_added_up_between_readings() -> None:
    now, watts = [0.0], [2.0]
    meter = MonitorMeter(lambda: watts[0], lambda: now[0], sample_s=0)
    now[0], watts[0] = 1.0, 4.0
    assert meter.read_joules() == 3.0
    now[0] = 1.5
    assert meter.read_joules() == 5.0


def test_a_device_that_is_not_there_says_so() -> None:
    meter, note = find_energy_meter("cuda:99")
    assert meter is None
    assert note.startswith(NOT_MEASURABLE)


class CountingMeter:
    def __init__(self) -> None:
        self.joules = 0.0

    def read_joules(self) -> float:
        return self.joules


def test_energy_is_divided_by_items() -> None:
    clock, meter = SteppingClock(), CountingMeter()

    def work(x: Array) -> Outputs:
        clock.wait(MS)
        meter.joules += 2.0
        return {"y": x}

    estimate = measure_energy(meter, FunctionSession(work), FEEDS, seconds=0.1, clock=clock)
    assert (estimate.value, estimate.low, estimate.high, estimate.unit) == (0.5, 0.5, 0.5, "J")


def test_a_counter_that_stands_still_is_an_error() -> None:
    clock = SteppingClock()

    def work(x: Array) -> Outputs:
        clock.wait(MS)
        return {"y": x}

    with pytest.raises(MeasurementError, match="did not move"):
        measure_energy(CountingMeter(), FunctionSession(work), FEEDS, seconds=0.1, clock=clock)
