"""Fetch the package with MovieLens-100k, train the ranker on it, and make this example's files.

    python fetch.py

writes ``ranker.onnx``, ``evaluation.npz`` and ``calibration.npz`` into ``files/``, in a few minutes on two cores. The
package is pinned and its hash checked; nothing of it is installed or run. Needs pip and PyTorch.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "shared"))  # what several examples share

import numpy as np
import onnx
import onnxruntime
import torch
from interactions import (
    CALIBRATED,
    HELD_OUT,
    HISTORY,
    NEGATIVES,
    Interactions,
    Ints,
    Queries,
    add_candidates,
    make_queries,
    read_interactions,
)
from network import Ranker
from numpy.typing import NDArray
from packages import Package, fetch
from torch import nn

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
RATINGS = Package(
    "recbole",
    "1.2.1",
    "recbole-1.2.1-py3-none-any.whl",
    "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
)
OPSET = 18
SEED = 0
EPOCHS, BATCH, SAMPLED = 4, 512, 8
RATE = 4e-3
CUT = 10


def train(interactions: Interactions, queries: Queries) -> Ranker:
    """Train by the softmax of the next film among films drawn at random."""
    torch.manual_seed(SEED)
    model = Ranker(interactions.users, interactions.items)
    steps = EPOCHS * -(-len(queries) // BATCH)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    user, history, film = (torch.from_numpy(array) for array in (queries.user, queries.history, queries.film))
    model.train()
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in torch.randperm(len(queries)).split(BATCH):
            others = torch.randint(1, interactions.items + 1, (len(batch), SAMPLED))
            logits = model(user[batch], history[batch], torch.cat([film[batch, None], others], dim=1))
            loss = nn.functional.cross_entropy(logits, torch.zeros(len(batch), dtype=torch.long))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {total / len(queries):.3f}", flush=True)
    return model.eval()


def export(model: Ranker, path: Path) -> None:
    """Write the model with a dynamic batch; its tables are read by Gather."""
    example = tuple(torch.ones(shape, dtype=torch.long) for shape in ((2,), (2, HISTORY), (2, NEGATIVES + 1)))
    batch = torch.export.Dim("batch")
    names = ["user", "history", "candidates"]
    with contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            model,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=["scores"],
            dynamic_shapes={name: {0: batch} for name in names},
        )
    if program is None:
        raise SystemExit("PyTorch wrote no ONNX model")
    onnx.checker.check_model(program.model_proto, full_check=True)
    onnx.save(program.model_proto, path)
    gathers = sum(node.op_type == "Gather" for node in program.model_proto.graph.node)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {gathers} lookups")


def rank(path: Path, queries: Queries, candidates: Ints) -> NDArray[np.float32]:
    """Scores ``[n, 100]`` of the candidates by ONNX Runtime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    scores = [
        session.run(["scores"], {"user": queries.user[part], "history": queries.history[part], "candidates": some})[0]
        for part, some in ((slice(at, at + BATCH), candidates[at : at + BATCH]) for at in range(0, len(queries), BATCH))
    ]
    return np.concatenate(scores)


def measure_ndcg(scores: NDArray[np.float32], relevance: NDArray[np.int8]) -> NDArray[np.float64]:
    """NDCG@10 of each query, ``[n]``; with one relevant candidate it depends on its place alone."""
    own = scores[relevance == 1][:, np.newaxis]
    place = (scores > own).sum(axis=1)
    return np.where(place < CUT, 1 / np.log2(place + 2), 0.0)


def main() -> None:
    """Fetch, train, export, and write what the study reads."""
    interactions = read_interactions(fetch(RATINGS, FILES / "packages"))
    rng = np.random.default_rng(SEED)
    model = train(interactions, make_queries(interactions, 0, -HELD_OUT))
    path = FILES / "ranker.onnx"
    export(model, path)

    held_out = make_queries(interactions, -HELD_OUT, 0)
    candidates, relevance = add_candidates(interactions, held_out, rng)
    inputs = {"user": held_out.user, "history": held_out.history, "candidates": candidates}
    np.savez(FILES / "evaluation.npz", **inputs, target=relevance)
    similar = make_queries(interactions, -HELD_OUT - CALIBRATED, -HELD_OUT)
    inputs = {"user": similar.user, "history": similar.history}
    np.savez(FILES / "calibration.npz", **inputs, candidates=add_candidates(interactions, similar, rng)[0])

    ndcg = measure_ndcg(rank(path, held_out, candidates), relevance)
    print(f"evaluation.npz: {len(held_out)} queries of {len(interactions.films)} users; {len(similar)} for calibration")
    last = ndcg[HELD_OUT - 1 :: HELD_OUT]
    print(f"FP32 on ONNX Runtime: NDCG@10 {ndcg.mean():.3f}; {last.mean():.3f} of each user's last film")


if __name__ == "__main__":
    main()
