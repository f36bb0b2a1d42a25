import io

import numpy as np
import pytest

from assay.calibrate.observe import Observation, merge_calibrations
from assay.calibrate.packing import pack, unpack
from assay.calibrate.statistics import observe_array
from assay.core.calibration import Calibration, ChannelStatistics, TensorStatistics
from assay.core.errors import DataError, StoreError
from assay.core.session import Batch

VALUES = np.random.default_rng(5).normal(size=(6, 4, 3)).astype(np.float32)


def observe(values: np.ndarray = VALUES, fingerprint: str = "f") -> Calibration:
    observation = Observation(["x", "y"], ["x"], channels={"y": 1})
    observation.add(Batch({"x": values}, None, 0), {"y": 2 * values})
    return observation.build(fingerprint)


def test_a_file_gives_back_what_was_stored() -> None:
    calibration, file = observe(), io.BytesIO()
    np.savez(file, **pack(calibration))  # type: ignore[arg-type]
    file.seek(0)
    stored = unpack(dict(np.load(file, allow_pickle=False)))
    assert (list(stored.tensors), stored.data, stored.items) == (["x", "y"], "f", 6)
    before, after = calibration.tensors["y"], stored.tensors["y"]
    for name in ("low", "high", "count", "total", "total_squares", "zeros", "nonfinite", "items", "total_low", "sums"):
        assert getattr(before, name) == getattr(after, name)
    np.testing.assert_array_equal(before.histogram, after.histogram)
    assert before.groups is not None
    assert after.groups is not None
    np.testing.assert_array_equal(before.groups, after.groups)
    assert before.channels is not None
    assert after.channels is not None
    np.testing.assert_array_equal(before.channels.total, after.channels.total)
    assert after.channels.axis == 1
    assert calibration.sketch is not None
    assert stored.sketch is not None
    assert stored.sketch.names == calibration.sketch.names
    np.testing.assert_array_equal(stored.sketch.features, calibration.sketch.features)


def test_what_is_optional_may_be_missing() -> None:
    floats = TensorStatistics(np.eye(1, 65536, 5, dtype=np.int64)[0], -1.5, 2.5, 1, 0.1, 0.7, 0, 0)
    stored = unpack(pack(Calibration({"a": floats}, "d", 3))).tensors["a"]
    assert (stored.groups, stored.channels, stored.total, stored.total_squares) == (None, None, 0.1, 0.7)
    assert unpack(pack(Calibration({}, "d", 0))).sketch is None


def test_an_earlier_layout_is_refused() -> None:
    arrays = pack(observe())
    del arrays["layout"]
    with pytest.raises(StoreError, match="layout 1; this version reads 2"):
        unpack(arrays)


@pytest.mark.parametrize("lost", ["histogram_bins", "sums", "channels_of", "sketch_names"])
def test_a_damaged_table_is_refused(lost: str) -> None:
    arrays = pack(observe())
    del arrays[lost]
    with pytest.raises(StoreError, match="damaged"):
        unpack(arrays)


def test_merged_fingerprints_do_not_depend_on_the_order() -> None:
    a, b, c = (observe(VALUES[i : i + 2], str(i)) for i in (0, 2, 4))
    one, other = merge_calibrations([merge_calibrations([a, b]), c]), merge_calibrations([c, a, b])
    assert one.data == other.data
    assert one.data != merge_calibrations([a, b]).data
    assert merge_calibrations([a]).data == a.data
    assert merge_calibrations([a, a]).data != merge_calibrations([b, b]).data


def test_calibrations_of_two_models_do_not_merge() -> None:
    one = observe()
    other = Calibration({"x": one.tensors["x"]}, "", 6)
    with pytest.raises(DataError, match="'y' is not in all"):
        merge_calibrations([one, other])
    with pytest.raises(ValueError, match="nothing"):
        merge_calibrations([])


def test_other_channels_do_not_merge() -> None:
    channels = observe_array(VALUES, axis=2).channels
    assert isinstance(channels, ChannelStatistics)
    x = observe_array(VALUES)
    parts = [Calibration({"x": observe_array(VALUES, axis=axis)}, "", 6) for axis in (1, 2)]
    with pytest.raises(DataError, match="3 channels along axis 2"):
        merge_calibrations(parts)
    assert merge_calibrations([parts[0], Calibration({"x": x}, "", 6)]).tensors["x"].channels is None
