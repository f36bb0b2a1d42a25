from pathlib import Path

from assay.measure.memory import read_current_bytes, read_peak_bytes, reset_peak

MIB = 2**20


def test_a_large_array_raises_the_peak_and_leaves_the_current_set() -> None:
    reset_peak()
    before = read_peak_bytes()
    block = bytearray(b"x" * (150 * MIB))
    assert read_current_bytes() >= 140 * MIB
    del block
    assert read_peak_bytes() - before >= 140 * MIB
    assert read_peak_bytes() >= read_current_bytes()


def test_a_peak_can_be_reset_where_the_system_allows_it() -> None:
    block = bytearray(b"x" * (150 * MIB))
    del block
    high = read_peak_bytes()
    if reset_peak():
        assert read_peak_bytes() < high - 100 * MIB


def test_without_proc_the_peak_comes_from_the_system(tmp_path: Path) -> None:
    assert read_peak_bytes(tmp_path / "missing") >= read_current_bytes()
    assert not reset_peak(tmp_path / "missing" / "clear_refs")


def test_the_high_water_mark_is_read_in_kibibytes(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t99000000 kB\nVmRSS:\t5 kB\n")
    assert read_peak_bytes(tmp_path / "status") == 99_000_000 * 1024
