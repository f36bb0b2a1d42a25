"""A small BERT encoder with a linear head, in PyTorch, under the names of the published weights."""

import math
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY, POSITIONS, KINDS = 30522, 512, 2
LAYERS, HEADS, WIDTH, INNER = 6, 12, 384, 1536
EPSILON = 1e-12
CLASSES = 2
MASKED = -1e4
"""Added to the attention to tokens that only fill a text up."""


class Embeddings(nn.Module):
    """Word, place and kind of every token, added up."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(VOCABULARY, WIDTH)
        self.position_embeddings = nn.Embedding(POSITIONS, WIDTH)
        self.token_type_embeddings = nn.Embedding(KINDS, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=EPSILON)

    def forward(self, ids: Tensor) -> Tensor:
        """``[n, t]`` token ids to ``[n, t, 384]``."""
        places = self.position_embeddings.weight[: ids.shape[1]]
        return self.LayerNorm(self.word_embeddings(ids) + places + self.token_type_embeddings.weight[0])


class Layer(nn.Module):
    """Attention among the tokens, then a network of two layers on each; both around a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in ("query", "key", "value")}),
                "output": nn.ModuleDict(
                    {"dense": nn.Linear(WIDTH, WIDTH), "LayerNorm": nn.LayerNorm(WIDTH, eps=EPSILON)}
                ),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, INNER)})
        self.output = nn.ModuleDict({"dense": nn.Linear(INNER, WIDTH), "LayerNorm": nn.LayerNorm(WIDTH, eps=EPSILON)})

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """``[n, t, 384]`` to the same shape; ``bias [n, 1, 1, t]`` is added to the attention."""
        asked, found, told = (
            linear(hidden).unflatten(-1, (HEADS, WIDTH // HEADS)).transpose(1, 2)
            for linear in self.attention["self"].values()
        )
        scores = asked @ found.transpose(-1, -2) / math.sqrt(WIDTH / HEADS) + bias
        mixed = (scores.softmax(-1) @ told).transpose(1, 2).flatten(-2)
        hidden = self.attention["output"]["LayerNorm"](self.attention["output"]["dense"](mixed) + hidden)
        wide = functional.gelu(self.intermediate["dense"](hidden))
        return self.output["LayerNorm"](self.output["dense"](wide) + hidden)


class Sentiment(nn.Module):
    """Logits of negative and positive for texts of any length up to 512 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = Embeddings()
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer() for _ in range(LAYERS))})
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """``[n, t]`` ids and mask, both int64, to logits ``[n, 2]``; the head sees the mean of real tokens."""
        present = attention_mask.to(self.head.weight.dtype)
        hidden = self.embeddings(input_ids)
        bias = (1 - present)[:, None, None] * MASKED
        for layer in self.encoder["layer"]:
            hidden = layer(hidden, bias)
        mean = (hidden * present[..., None]).sum(1) / present.sum(1, keepdim=True)
        return self.head(mean)


def load_encoder(path: Path) -> Sentiment:
    """The network with the published weights of the encoder, and a head that knows nothing yet."""
    network = Sentiment()
    weights = load_file(path)
    known = {name: value for name, value in weights.items() if name in network.state_dict()}
    missing, _ = network.load_state_dict(known, strict=False)
    if set(missing) != {"head.weight", "head.bias"}:
        raise SystemExit(f"{path} lacks {missing}")
    return network
