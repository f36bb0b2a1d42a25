"""Runtimes of Assay's own and of installed packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.backends.table import BACKENDS, list_backends, load_backend
from assay.core.errors import BackendUnavailable, RequestError
from assay.studies.diagnosis import examine_runtime


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "theirs-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n", encoding="utf-8")
    entries = (
        "[assay.backends]",
        "theirs = assay.backends.reference.adapter:ReferenceBackend",
        "reference = theirs:Impostor",
        "broken = theirs_is_not_there:Backend",
        "",
    )
    (package / "entry_points.txt").write_text("\n".join(entries), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("installed")
def test_an_installed_package_adds_a_runtime() -> None:
    assert list_backends() == (*BACKENDS, "broken", "theirs")
    assert type(load_backend("theirs")) is type(load_backend("reference"))


@pytest.mark.usefixtures("installed")
def test_a_package_that_cannot_be_imported_is_not_available() -> None:
    with pytest.raises(BackendUnavailable, match=r"the adapter of broken, .*cannot be loaded"):
        load_backend("broken")
    state = examine_runtime("broken")
    assert not state.available
    assert "theirs_is_not_there" in state.missing


@pytest.mark.usefixtures("installed")
def test_a_name_that_nobody_has_is_refused() -> None:
    with pytest.raises(RequestError, match="nobodys") as caught:
        load_backend("nobodys")
    assert "theirs" in caught.value.hint
