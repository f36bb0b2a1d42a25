"""A ranker in the manner of DLRM: embedding tables, their products, and a small network on top; in PyTorch."""

from __future__ import annotations

import torch
from interactions import HISTORY
from torch import nn

COLUMNS = 64
CROSSES = 1 << 15
"""Rows of the table of (last film, candidate) pairs, which share rows by a hash."""


class Ranker(nn.Module):
    """Scores ``[n, candidates]`` of candidates ``[n, candidates]`` for users ``[n]`` with histories ``[n, 20]``.

    Almost all parameters are in tables: users, films as candidates, films as history, and pairs of the last film and
    the candidate (a cross feature; Cheng and others, Wide & deep learning, 2016). The candidate's row is multiplied
    with the user's and with the sum of the history's (dot products of DLRM; Naumov and others, 2019).

    Args:
        users: highest user id.
        items: highest film id; 0 stands for no film.
    """

    def __init__(self, users: int, items: int) -> None:
        super().__init__()
        self.stride = items + 1
        self.user_table = nn.Embedding(users + 1, COLUMNS)
        self.item_table = nn.Embedding(items + 1, COLUMNS, padding_idx=0)
        self.seen_table = nn.Embedding(items + 1, COLUMNS, padding_idx=0)
        self.cross_table = nn.Embedding(CROSSES, COLUMNS)
        for table in (self.user_table, self.item_table, self.seen_table, self.cross_table):
            nn.init.normal_(table.weight, std=0.05)
        self.recency = nn.Parameter(torch.linspace(0.1, 1.0, HISTORY)[:, None])
        self.dropout = nn.Dropout(0.3)
        self.top = nn.Sequential(
            nn.Linear(4 * COLUMNS, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 1)
        )

    def forward(self, user: torch.Tensor, history: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """Logits; the higher, the likelier is the candidate the next film."""
        taste = self.dropout(self.user_table(user))[:, None, :]
        seen = self.dropout((self.seen_table(history) * self.recency).sum(dim=1))[:, None, :]
        item = self.dropout(self.item_table(candidates))
        pairs = torch.remainder(history[:, -1:] * self.stride + candidates, CROSSES)
        cross = self.dropout(self.cross_table(pairs))
        logits: torch.Tensor = self.top(torch.cat([item * taste, item * seen, item, cross], dim=2)).squeeze(2)
        return logits
