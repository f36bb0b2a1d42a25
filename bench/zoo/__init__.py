"""Real pairs of a trained network and labelled data, made from packages of public registries.

One module per pair, each with a ``make_*`` that writes what it needs into a folder and gives a ``Pair``.
Public: ``pair.Pair``, ``catalogue.PAIRS``.
"""

from __future__ import annotations

import sys
from pathlib import Path

for example in ("detection", "shared"):
    sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / example))
