"""Texts longer than a model looks back, in windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.data.tokenizing import Tokens

CONTEXT = -1
"""Target of a token that is not scored: another window scores it, or nothing stands before it."""


@dataclass(frozen=True, slots=True)
class Windows:
    """One text in windows of one length each.

    Attributes:
        rows: tokens of each window.
        targets: ``[windows, t] int64``: the tokens, -1 where another window scores them.
    """

    rows: list[Tokens]
    targets: NDArray[np.int64]


def divide(tokens: Tokens, window: int, stride: int) -> Windows:
    """Divide a text into windows that start ``stride`` tokens apart; the last one ends with the text.

    A window is ``window`` tokens long; a shorter text is one window of its own length. Each token counts in the first
    window that has another token before it, so all but the text's first count once, behind ``window - stride`` tokens
    or more (of windows that do not overlap: behind one or more, and each first token of a window not at all).

    Args:
        tokens: of the text.
        window: most tokens that the model sees at once.
        stride: 1 to ``window``.
    """
    count = len(tokens)
    starts = [0] if count <= window else [*range(0, count - window, stride), count - window]
    rows, targets, scored = [], [], 0
    for start in starts:
        stop = min(start + window, count)
        part = slice(start, stop)
        rows.append(Tokens(tokens.ids[part], tokens.types[part]))
        fresh = np.arange(start, stop) >= scored
        targets.append(np.where(fresh, tokens.ids[part], CONTEXT))
        scored = stop
    return Windows(rows, np.stack(targets))
