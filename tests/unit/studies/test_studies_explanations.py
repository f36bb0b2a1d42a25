import math
from dataclasses import replace
from pathlib import Path

import pytest
from explanation_samples import make_explanation

from assay.core.errors import StoreError
from assay.core.sensitivity import Damage
from assay.studies.explanations import keep_explanation, load_explanations, read_explanation
from assay.studies.store import StudyStore


@pytest.fixture
def store(tmp_path: Path) -> StudyStore:
    return StudyStore(tmp_path / "STUDY", "0123456789abcdef")


def test_an_explanation_is_read_as_it_was_kept(store: StudyStore) -> None:
    kept = make_explanation()
    assert read_explanation(keep_explanation(store, kept)) == kept


def test_infinite_noise_is_read_as_it_was_kept(store: StudyStore) -> None:
    kept = make_explanation()
    broken = replace(kept.sensitivities, together=Damage(math.inf, None))
    again = read_explanation(keep_explanation(store, replace(kept, sensitivities=broken)))
    assert again.sensitivities.together.noise == math.inf


def test_those_of_the_finished_study_are_found(store: StudyStore) -> None:
    kept = [replace(make_explanation(), trial=name) for name in ("openvino.int8-b", "openvino.int8-a")]
    for one in kept:
        keep_explanation(store, one)
    (store.root / "study.json").write_bytes(b"{}")
    assert load_explanations(store.root) == ()  # of a study that is not finished
    (store.measurements / "finished.json").write_bytes(b"{}")
    assert load_explanations(store.root) == (kept[1], kept[0])
    newer = replace(kept[0], metric="top5")
    keep_explanation(store, newer)
    assert load_explanations(store.root) == (kept[1], newer)


def test_those_of_other_measurements_are_left_out(store: StudyStore) -> None:
    keep_explanation(store, make_explanation())
    other = StudyStore(store.root, "fedcba9876543210")
    (store.root / "study.json").write_bytes(b"{}")
    (other.measurements / "finished.json").write_bytes(b"{}")
    assert load_explanations(store.root) == ()


@pytest.mark.parametrize("damage", ["cut", "binary", "schema", "kind"])
def test_a_damaged_file_is_named_with_what_to_do(store: StudyStore, damage: str) -> None:
    path = keep_explanation(store, make_explanation())
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "binary": b"\xff\x00" + content,
            "schema": content.replace(b'"schema": 1', b'"schema": 99'),
            "kind": content.replace(b'"metric": "', b'"metric": 3, "was": "'),
        }[damage]
    )
    with pytest.raises(StoreError) as caught:
        read_explanation(path)
    assert str(path) in caught.value.message
    assert "delete it" in caught.value.hint
    assert path.stem in caught.value.hint
