"""Calibration sets through the command line, on real data and a trained network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from study_samples import Files

from assay.cli.program import main
from assay.core.calibration import Calibration
from assay.core.tensor import Signature, TensorSpec
from assay.data.calibration_set import encode_sums
from assay.data.open import open_dataset
from assay.data.set_items import ItemsWriter
from assay.data.source import DataSource, Preprocess
from assay.studies.statistics_files import list_held, load_statistics

FASHION = Path(__file__).parents[2] / "examples" / "fashion"
STUDY = FASHION / "study.toml"
POOL = FASHION / "calibration.npz"
IMAGE = Signature((TensorSpec("image", "float32", ("n", 1, 28, 28)),), ())
DECLARED = Preprocess(scale=255, mean=(0.2860,), std=(0.3530,))

Call: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``assay calibration`` in this process: its status, standard output and standard error on one line."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["assay", "calibration", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert isinstance(left.value.code, int)
        return left.value.code, out, " ".join(err.split())

    return run


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two disjoint sets and one that overlaps with both, made by the command."""
    folder = tmp_path_factory.mktemp("sets")
    made = {}
    with np.load(POOL) as pool:
        for name, low, high in (("early", 0, 24), ("late", 24, 48), ("across", 12, 36)):
            source = folder / f"{name}.npz"
            np.savez(source, allow_pickle=False, image=pool["image"][low:high], target=pool["target"][low:high])
            made[name] = folder / name
            arguments = ["create", source, "--study", STUDY, "--select", "first", "--items", "24"]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("sys.argv", ["assay", "calibration", *map(str, arguments), "--output", str(made[name])])
                with pytest.raises(SystemExit) as left:
                    main()
            assert left.value.code == 0
    return made


def read_statistics(folder: Path) -> Calibration:
    """Those of the residual network; another test has some of another one kept."""
    held = list_held(folder / "statistics")
    return next(load_statistics(path)[1] for path, one in held if one.model == "residual.onnx")


def prepared(low: int, high: int) -> np.ndarray:
    with np.load(POOL) as pool:
        pixels = pool["image"][low:high].astype(np.float32)
    return (pixels / np.float32(255) - np.float32(0.2860)) / np.float32(0.3530)


def read(folder: Path, preprocess: Preprocess | None = None) -> tuple[np.ndarray, np.ndarray]:
    batches = list(open_dataset(DataSource(str(folder), preprocess=preprocess), IMAGE).batches(7))
    labels = [batch.targets for batch in batches if batch.targets is not None]
    return np.concatenate([batch.feeds["image"] for batch in batches]), np.concatenate(labels)


def test_a_set_feeds_what_its_source_fed(sets: dict[str, Path]) -> None:
    feeds, labels = read(sets["late"])
    np.testing.assert_array_equal(feeds, prepared(24, 48))
    np.testing.assert_array_equal(read(sets["late"], DECLARED)[0], feeds)
    with np.load(POOL) as pool:
        np.testing.assert_array_equal(labels, pool["target"][24:48])


def test_show_tells_what_create_was_told(call: Call, tmp_path: Path) -> None:
    output = tmp_path / "set"
    options = ["--items", 16, "--seed", 5, "--licence", "MIT [data]", "--note", "for a test", "--json"]
    status, created, _ = call("create", "--study", STUDY, "--output", output, *options)
    assert status == 0
    status, shown, _ = call("show", output, "--json")
    assert status == 0
    assert json.loads(shown) == json.loads(created)
    document = json.loads(shown)
    assert document["schema"] == 1
    described = document["description"]
    assert described["items"] == 16
    assert described["inputs"] == [{"name": "image", "dtype": "float32", "shape": [1, 28, 28]}]
    assert described["origin"]["path"].endswith("calibration.npz")
    assert described["origin"]["kind"] == "npz"
    assert described["origin"]["preprocess"]["scale"] == 255
    selection = described["origin"]["selection"]
    assert (selection["method"], selection["seed"], selection["pool"], selection["asked"]) == ("random", 5, 1000, 16)
    assert (described["licence"], described["note"]) == ("MIT [data]", "for a test")
    assert described["created"].endswith("+00:00")
    assert [one["model"] for one in document["statistics"]] == ["residual.onnx"]
    assert document["statistics"][0]["items"] == 16
    text = " ".join(call("show", output)[1].split())
    for told in ("16 items", described["address"], "MIT [data]", "for a test", "random, at most 16 of 1,000, seed 5"):
        assert told in text
    np.testing.assert_array_equal(
        np.sort(read(output)[0].sum((1, 2, 3))), np.sort(prepared(0, 1000)[drawn(5, 16)].sum((1, 2, 3)))
    )


def drawn(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(1000)[:count]


def test_the_same_question_gives_the_same_set(call: Call, tmp_path: Path) -> None:
    documents = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        out = call("create", "--study", STUDY, "--output", tmp_path / name, "--items", 8, "--seed", seed, "--json")[1]
        documents.append(json.loads(out)["description"]["address"])
    assert documents[0] == documents[1] != documents[2]
    assert (tmp_path / "a" / "items.npz").read_bytes() == (tmp_path / "b" / "items.npz").read_bytes()


def test_as_many_items_as_the_data_need(call: Call, tmp_path: Path) -> None:
    status, out, _ = call("create", "--study", STUDY, "--output", tmp_path / "set", "--json")
    assert status == 0
    document = json.loads(out)
    selection = document["description"]["origin"]["selection"]
    assert selection["asked"] is None
    assert selection["convergence"]["items"] == document["description"]["items"] <= 300
    assert selection["convergence"]["points"]
    assert document["statistics"][0]["items"] == document["description"]["items"]
    dataset = open_dataset(DataSource(str(tmp_path / "set")), IMAGE)
    assert read_statistics(tmp_path / "set").data == dataset.fingerprint


def test_a_spread_choice_is_closer_to_the_pool_than_chance(call: Call, tmp_path: Path) -> None:
    with np.load(POOL) as pool:
        np.savez(tmp_path / "pool.npz", allow_pickle=False, image=pool["image"][:160])
    means = {}
    for method in ("spread", "random"):
        output = tmp_path / method
        options = ["--select", method, "--items", 24, "--seed", 2, "--output", output, "--json"]
        status, out, _ = call("create", tmp_path / "pool.npz", "--study", STUDY, *options)
        assert status == 0
        assert json.loads(out)["description"]["items"] == 24
        feeds = next(open_dataset(DataSource(str(output)), IMAGE).batches(24)).feeds["image"]
        means[method] = abs(float(np.mean(feeds)) - float(prepared(0, 160).mean()))
    assert means["spread"] < means["random"]


def test_as_many_spread_items_as_the_data_need(call: Call, tmp_path: Path) -> None:
    with np.load(POOL) as pool:
        np.savez(tmp_path / "pool.npz", allow_pickle=False, image=pool["image"][:160])
    arguments = ["create", tmp_path / "pool.npz", "--study", STUDY, "--select", "spread", "--output", tmp_path / "set"]
    status, out, _ = call(*arguments, "--json")
    assert status == 0
    described = json.loads(out)["description"]
    assert described["items"] == described["origin"]["selection"]["convergence"]["items"] < 160
    assert json.loads(out)["statistics"][0]["items"] == described["items"]


def test_a_set_of_a_set_keeps_where_it_comes_from(call: Call, sets: dict[str, Path], tmp_path: Path) -> None:
    status, out, _ = call(
        "create", sets["early"], "--study", STUDY, "--output", tmp_path / "part", "--items", 5, "--json"
    )
    assert status == 0
    described = json.loads(out)["description"]
    assert described["origin"]["kind"] == "calibration set"
    assert described["parts"][0]["kept"] == 5
    assert described["parts"][0]["description"]["origin"]["path"].endswith("early.npz")


def test_a_set_never_changes(call: Call, sets: dict[str, Path]) -> None:
    before = {path: path.read_bytes() for path in sets["early"].rglob("*") if path.is_file()}
    status, _, err = call("create", "--study", STUDY, "--items", 4, "--output", sets["early"])
    assert status == 2
    assert "sets never change" in err
    assert {path: path.read_bytes() for path in sets["early"].rglob("*") if path.is_file()} == before
    assert {path.stat().st_mode & 0o222 for path in sets["early"].iterdir() if path.is_file()} == {0}


@pytest.mark.parametrize("name", ["set.json", "items.npz", "SHA256SUMS", "statistics"])
def test_damage_is_named(call: Call, sets: dict[str, Path], tmp_path: Path, name: str) -> None:
    shutil.copytree(sets["early"], tmp_path / "set")
    path = tmp_path / "set" / name
    path = next(path.iterdir()) if path.is_dir() else path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(content)
    for arguments in (
        ["show", tmp_path / "set"],
        ["check", tmp_path / "set", "--study", STUDY],
        ["diff", tmp_path / "set", sets["late"]],
        ["merge", sets["late"], tmp_path / "set", "--output", tmp_path / "merged"],
    ):
        status, _, err = call(*arguments)
        assert status == 2, arguments
        assert path.name in err
    assert not (tmp_path / "merged").exists()


def test_items_that_do_not_give_the_address_are_refused(call: Call, sets: dict[str, Path], tmp_path: Path) -> None:
    forged = tmp_path / "set"
    shutil.copytree(sets["early"], forged)
    for name, content in (("items.npz", (sets["late"] / "items.npz").read_bytes()), ("SHA256SUMS", b"")):
        (forged / name).chmod(0o644)
        (forged / name).write_bytes(content or encode_sums(forged))
    status, _, err = call("show", forged)
    assert status == 2
    assert "do not give the address" in err


def test_check_trusts_a_set_like_what_is_served(call: Call, tmp_path: Path) -> None:
    call("create", "--study", STUDY, "--output", tmp_path / "set", "--items", 120)
    status, out, _ = call("check", tmp_path / "set", "--study", STUDY, "--sample", 120, "--json")
    assert status == 0
    document = json.loads(out)
    assert document["fitness"]["verdict"] == "fit"
    assert document["fitness"]["calibration_items"] == 120
    assert document["fitness"]["sample_items"] == 120
    assert document["fitness"]["tensors"]
    status, out, _ = call("check", tmp_path / "set", "--study", STUDY, "--sample", 120)
    assert status == 0
    assert out.startswith("FIT")


def test_check_refuses_noise(call: Call, tmp_path: Path) -> None:
    noise = tmp_path / "noise.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 1, 28, 28), dtype=np.uint8)
    np.savez(noise, allow_pickle=False, image=pixels)
    call("create", noise, "--study", STUDY, "--output", tmp_path / "set", "--items", 60)
    status, out, err = call("check", tmp_path / "set", "--study", STUDY, "--sample", 60)
    assert status == 4
    assert out.startswith("UNFIT")
    assert not err
    status, out, _ = call("check", tmp_path / "set", "--study", STUDY, "--sample", 60, "--json")
    assert status == 4
    assert json.loads(out)["fitness"]["verdict"] == "unfit"
    assert json.loads(out)["fitness"]["reasons"]


def test_check_prepares_as_the_set_records(call: Call, sets: dict[str, Path]) -> None:
    model = FASHION / "residual.onnx"
    arguments = ["check", sets["early"], "--against", POOL, "--model", model, "--sample", 24]
    status, _, err = call(*arguments)
    assert status == 2
    assert "uint8" in err
    assert call(*arguments, "--preprocess")[0] == 0
    status, _, err = call(*arguments, "--preprocess", "--study", STUDY)
    assert status == 2
    assert "contradict" in err


def test_a_set_is_judged_by_another(call: Call, sets: dict[str, Path]) -> None:
    model = FASHION / "separable.onnx"
    held = len(list((sets["late"] / "statistics").iterdir()))
    status, out, _ = call("check", sets["early"], "--against", sets["late"], "--model", model, "--json")
    assert status == 0
    assert json.loads(out)["fitness"]["sample_items"] == 24
    assert len(list((sets["late"] / "statistics").iterdir())) == held + 1


def test_diff_tells_items_facts_and_ranges(call: Call, sets: dict[str, Path]) -> None:
    status, out, _ = call("diff", sets["early"], sets["across"], "--json")
    assert status == 0
    document = json.loads(out)
    assert document["items"]["common"] == 12
    assert document["items"]["only"] == [list(range(12)), list(range(12, 24))]
    assert "origin" in document["fields"]
    assert "licence" not in document["fields"]
    moves = document["statistics"][0]["tensors"]
    assert [move["moved"] for move in moves] == sorted((move["moved"] for move in moves), reverse=True)
    assert moves[0]["moved"] > 0
    text = call("diff", sets["early"], sets["across"])[1]
    assert text.startswith("12 items in both")
    assert moves[0]["tensor"] in text
    assert "0 of" in call("diff", sets["early"], sets["early"])[1]


def test_merge_adds_up_what_its_parts_know(call: Call, sets: dict[str, Path], tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    status, out, _ = call("merge", sets["late"], sets["early"], "--output", merged, "--json")
    assert status == 0
    document = json.loads(out)
    assert document["dropped"] == 0
    assert [part["kept"] for part in document["description"]["parts"]] == [24, 24]
    assert document["description"]["parts"][1]["description"]["origin"]["path"].endswith("early.npz")
    np.testing.assert_array_equal(read(merged)[0], np.concatenate([prepared(24, 48), prepared(0, 24)]))
    assert read(merged, DECLARED)[1].shape == (48,)
    merged_statistics = read_statistics(merged)
    assert merged_statistics.items == 48
    anew = tmp_path / "anew"
    call("create", merged, "--model", FASHION / "residual.onnx", "--output", anew, "--select", "first", "--items", 48)
    observed = read_statistics(anew)
    assert observed.data == merged_statistics.data
    assert observed.tensors.keys() == merged_statistics.tensors.keys()
    for name, one in observed.tensors.items():
        other = merged_statistics.tensors[name]
        assert (one.count, one.items) == (other.count, other.items)
        # the runtime computes a batch of another size with other kernels
        assert [one.low, one.high, one.total] == pytest.approx([other.low, other.high, other.total], rel=1e-3, abs=1e-2)
    assert observed.sketch is not None
    assert merged_statistics.sketch is not None
    np.testing.assert_array_equal(observed.sketch.hashes, merged_statistics.sketch.hashes)
    np.testing.assert_array_equal(observed.sketch.positions, merged_statistics.sketch.positions)


def test_merge_drops_duplicates_and_says_what_that_costs(call: Call, sets: dict[str, Path], tmp_path: Path) -> None:
    parts = [sets["early"], sets["across"], sets["late"]]
    status, out, _ = call("merge", *parts, "--output", tmp_path / "merged")
    assert status == 0
    assert "24 duplicates were dropped" in out
    assert "the statistics of the parts are not carried over" in out
    np.testing.assert_array_equal(read(tmp_path / "merged")[0], prepared(0, 48))
    model = FASHION / "residual.onnx"
    status, out, _ = call("merge", *parts, "--output", tmp_path / "observed", "--model", model, "--json")
    assert status == 0
    assert [one["items"] for one in json.loads(out)["statistics"]] == [48]


def test_merge_leaves_out_labels_that_not_all_have(call: Call, sets: dict[str, Path], tmp_path: Path) -> None:
    with np.load(POOL) as pool:
        np.savez(tmp_path / "bare.npz", allow_pickle=False, image=pool["image"][50:54])
    call("create", tmp_path / "bare.npz", "--study", STUDY, "--output", tmp_path / "bare", "--items", 4)
    status, out, _ = call("merge", sets["early"], tmp_path / "bare", "--output", tmp_path / "merged", "--json")
    assert status == 0
    document = json.loads(out)
    assert document["description"]["target"] is None
    assert "labels" in document["remarks"][0]
    assert open_dataset(DataSource(str(tmp_path / "merged")), IMAGE).labelled is False


def wrong_calls(sets: dict[str, Path], files: Files, folder: Path) -> dict[str, tuple[list[object], int, str]]:
    """Name -> arguments, status, and what the message names."""
    (folder / "empty").mkdir()
    (folder / "file").write_text("text")
    early, late, new = sets["early"], sets["late"], folder / "new"
    np.savez(folder / "none.npz", image=np.zeros((0, 1, 28, 28), np.uint8))
    return {
        "no such folder": (["show", folder / "nowhere"], 2, "nowhere does not exist"),
        "not a set": (["show", folder / "empty"], 2, "empty is no calibration set"),
        "a file": (["show", folder / "file"], 2, "file is no calibration set"),
        "diff with no set": (["diff", early, folder / "empty"], 2, "empty is no calibration set"),
        "merge with no set": (["merge", early, folder / "empty", "--output", new], 2, "is no calibration set"),
        "merge of one": (["merge", early, "--output", new], 2, "two or more"),
        "output exists": (["merge", early, late, "--output", folder / "empty"], 2, "exists"),
        "no data": (["create", "--model", files.model, "--output", new], 2, "no data is named"),
        "no model": (["create", files.calibration, "--output", new], 2, "no model is named"),
        "no such data": (["create", folder / "no.npz", "--study", STUDY, "--output", new], 2, "no.npz"),
        "no such model": (["create", POOL, "--model", folder / "no.onnx", "--output", new], 2, "no.onnx"),
        "no such study": (["create", "--study", folder / "no.toml", "--output", new], 2, "no.toml"),
        "model does not fit": (["create", early, "--model", files.model, "--output", new], 2, "image"),
        "zero items": (["create", "--study", STUDY, "--items", 0, "--output", new], 2, "0 items"),
        "no number": (["create", "--study", STUDY, "--items", "many", "--output", new], 2, "many"),
        "no method": (["create", "--study", STUDY, "--select", "best", "--output", new], 2, "best"),
        "negative seed": (["create", "--study", STUDY, "--seed", -1, "--output", new], 2, "-1"),
        "first of auto": (["create", "--study", STUDY, "--select", "first", "--output", new], 2, "--items N"),
        "spread of too many": (
            ["create", "--study", STUDY, "--select", "spread", "--items", 5000, "--output", new],
            2,
            "5000 items",
        ),
        "no items": (["create", folder / "none.npz", "--study", STUDY, "--output", new], 2, "zero items"),
        "twice prepared": (["create", early, "--model", files.model, "--study", STUDY, "--output", new], 2, "image"),
        "nothing to judge by": (["check", early, "--model", FASHION / "residual.onnx"], 2, "--against"),
        "check without a set": (["check", POOL, "--study", STUDY], 2, "no calibration set"),
        "empty sample": (["check", early, "--study", STUDY, "--sample", 0], 2, "0 items"),
        "check of another model": (["check", early, "--model", files.model, "--study", STUDY], 2, "image"),
        "output below a file": (["merge", early, late, "--output", folder / "file" / "set"], 5, "file"),
        "unknown subcommand": (["creat"], 2, "creat"),
    }


def test_wrong_calls_are_named(call: Call, sets: dict[str, Path], files: Files, tmp_path: Path) -> None:
    before = set(tmp_path.parent.rglob("*.part"))
    for name, (arguments, wanted, told) in wrong_calls(sets, files, tmp_path).items():
        status, _, err = call(*arguments)
        assert (name, status) == (name, wanted), err
        assert told in err, name
        assert not (tmp_path / "new").exists(), name
    assert set(tmp_path.parent.rglob("*.part")) == before


def test_sets_of_other_inputs_do_not_merge(call: Call, sets: dict[str, Path], files: Files, tmp_path: Path) -> None:
    call("create", files.calibration, "--model", files.model, "--items", 4, "--output", tmp_path / "other")
    status, _, err = call("merge", sets["early"], tmp_path / "other", "--output", tmp_path / "merged")
    assert status == 2
    assert "image float32 [1, 28, 28] against image float32 [3, 12, 12]" in err
    assert not (tmp_path / "merged").exists()


def test_a_contradicting_preprocess_is_refused(call: Call, sets: dict[str, Path], tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(STUDY.read_text().replace("scale = 255", "scale = 1").replace('"residual', f'"{FASHION}/residual'))
    status, _, err = call("create", sets["early"], "--study", study, "--output", tmp_path / "new", "--items", 4)
    assert status == 2
    assert "scale = 1 against 255" in err


def test_an_interrupt_leaves_nothing_behind(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ItemsWriter, "finish", interrupt)
    status, _, err = call("create", "--study", STUDY, "--items", 4, "--output", tmp_path / "set")
    assert status == 130
    assert "interrupted" in err
    assert list(tmp_path.iterdir()) == []
