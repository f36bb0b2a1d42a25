"""Files are whole or absent, and what the system refuses is told in our words."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from assay.core.errors import StoreError
from assay.studies.files import make_folder, new_folder, read_arrays, write_arrays, write_bytes
from assay.studies.store import StudyStore, load_record, locked


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    write_bytes(path, b"old")
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from assay.core.errors import StoreError\n"
        "from assay.studies.files import write_bytes\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        f"    write_bytes(Path({str(path)!r}), bytes(100_000))\n"
        "except StoreError as error:\n"
        "    print(error.exit_code, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("5 cannot write")
    assert "resume" in done.stdout
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="file"):
        make_folder(tmp_path / "file" / "folder")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a read-only file system: Linux's /proc")
def test_a_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(StoreError, match="/proc"):
        make_folder(Path("/proc/assay"))


def test_a_folder_takes_its_name_only_when_whole(tmp_path: Path) -> None:
    final = tmp_path / "artifact"
    with pytest.raises(FileNotFoundError), new_folder(final) as folder:
        (folder / "missing" / "part").write_text("x")
    assert not final.exists()
    assert not list(tmp_path.iterdir())
    with new_folder(final) as folder:
        (folder / "part").write_text("x")
    assert (final / "part").read_text() == "x"


def test_arrays_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    arrays = {"x": np.arange(5), "y": np.ones((2, 3), np.float32)}
    write_arrays(path, arrays)
    back = read_arrays(path)
    assert all(np.array_equal(back[name], value) for name, value in arrays.items())


@pytest.mark.parametrize("name", ["file", "allow_pickle", "args", "a/b:0"])
def test_arrays_may_be_called_anything(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, {name: np.arange(5)})
    np.testing.assert_array_equal(read_arrays(path)[name], np.arange(5))


def test_texts_that_a_runtime_gives_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, {"label": np.array(["cat", "dog"], dtype=object)})
    assert read_arrays(path)["label"].tolist() == ["cat", "dog"]


def test_damaged_arrays_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.arange(1000)})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(StoreError, match=r"a\.npz is damaged"):
        read_arrays(path)


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(StoreError, match="damaged"):
        read_arrays(path)


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(StoreError, match="another run"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_damaged_noun_is_named(tmp_path: Path) -> None:
    store = StudyStore(tmp_path, "k" * 64)
    store.write("noun", {"a": 1})
    assert store.read("noun", dict[str, int]) == {"a": 1}
    (store.measurements / "noun.json").write_text('{"a": ')
    with pytest.raises(StoreError, match=r"noun\.json is damaged"):
        store.read("noun", dict[str, int])


def test_no_study_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no finished study"):
        load_record(tmp_path)


def test_what_a_killed_run_left_is_swept_away(tmp_path: Path) -> None:
    store = StudyStore(tmp_path, "k" * 64)
    (store.artifacts / ".abc.xyz.part").mkdir()
    (store.artifacts / ".abc.xyz.part" / "half").write_text("x")
    (store.measurements / ".noun.json.1.part").write_text("x")
    (store.measurements / ".realised.1").mkdir()
    store.write("noun", {"a": 1})
    StudyStore(tmp_path, "k" * 64)
    assert not list(store.artifacts.iterdir())
    assert not list(store.measurements.glob(".*"))
    assert store.read("noun", dict[str, int]) == {"a": 1}
