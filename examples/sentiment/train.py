"""Fine-tune the encoder on the sentiment of film reviews, and export it.

    python train.py

reads what ``fetch.py`` wrote and writes ``files/sentiment.onnx``: ``input_ids [n, t] int64``,
``attention_mask [n, t] int64`` to ``logits [n, 2]``, any n and any t up to 512. Six minutes on two cores.
Needs torch, onnxscript, safetensors and tokenizers.
"""

import contextlib
import csv
import io
import logging
import random
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from network import Sentiment, load_encoder
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
EPOCHS, BATCH, LONGEST = 2, 32, 128
RATE, HEAD_RATE, DECAY = 6e-5, 2e-3, 0.01
SEED = 6
OPSET = 20

Labelled = tuple[list[int], int]


def read_tokens(name: str) -> list[Labelled]:
    """Token ids and class of every row of a table."""
    tokenizer = Tokenizer.from_file(str(FILES / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    with (FILES / name).open(encoding="utf-8", newline="") as file:
        return [(tokenizer.encode(row["text"]).ids, int(row["target"])) for row in csv.DictReader(file)]


def draw_batches(items: list[Labelled], chance: random.Random | None = None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Ids, mask and classes of texts that are about equally long, in random order where there is chance."""
    noise = {id(item): chance.random() if chance else 0.0 for item in items}
    ranked = sorted(items, key=lambda item: len(item[0]) + 4 * noise[id(item)])
    batches = [ranked[start : start + BATCH] for start in range(0, len(ranked), BATCH)]
    if chance:
        chance.shuffle(batches)
    for batch in batches:
        width = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in batch])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row, _ in batch])
        yield ids, mask, torch.tensor([target for _, target in batch])


def train(network: Sentiment, items: list[Labelled]) -> None:
    """Adapt all weights, the rate falling to zero."""
    head = list(network.head.parameters())
    body = [weight for name, weight in network.named_parameters() if not name.startswith("head")]
    optimizer = torch.optim.AdamW([{"params": body, "lr": RATE}, {"params": head, "lr": HEAD_RATE}], weight_decay=DECAY)
    steps = EPOCHS * -(-len(items) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.1 * steps), 1 - step / steps)
    )
    chance = random.Random(SEED)  # noqa: S311 - an order that can be repeated
    began = time.monotonic()
    for epoch in range(EPOCHS):
        total = 0.0
        for ids, mask, targets in draw_batches(items, chance):
            loss = functional.cross_entropy(network(ids, mask), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(targets)
        took = time.monotonic() - began
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {total / len(items):.4f} after {took:.0f} s", flush=True)


@torch.inference_mode()
def evaluate(network: Sentiment, items: list[Labelled]) -> float:
    """Share of texts whose class is found."""
    network.eval()
    hits = sum(int((network(ids, mask).argmax(1) == targets).sum()) for ids, mask, targets in draw_batches(items))
    return hits / len(items)


def export(network: Sentiment, path: Path) -> None:
    """Write the network as ONNX, its batch and length open."""
    ids, mask = torch.ones(2, 16, dtype=torch.int64), torch.ones(2, 16, dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=512)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # Of torch's own parts, and of axes that both inputs share.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (ids, mask),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes=(axes, axes),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
        )
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """Train, evaluate, export."""
    torch.manual_seed(SEED)
    network = load_encoder(FILES / "encoder.safetensors")
    train(network, read_tokens("train.csv"))
    accuracy = evaluate(network, read_tokens("evaluation.csv"))
    print(f"FP32 in PyTorch: accuracy {accuracy:.4f} on the evaluation texts")
    export(network, FILES / "sentiment.onnx")


if __name__ == "__main__":
    main()
