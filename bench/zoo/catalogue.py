"""Every pair by name."""

from __future__ import annotations

from collections.abc import Callable

from zoo.classification import make_efficientnet, make_fashion_residual, make_fashion_separable
from zoo.mnist import make_mnist
from zoo.nanodet import make_nanodet
from zoo.opennsfw import make_opennsfw
from zoo.pair import Pair, Places

PAIRS: dict[str, Callable[[Places], Pair]] = {
    "mnist": make_mnist,
    "fashion-residual": make_fashion_residual,
    "fashion-separable": make_fashion_separable,
    "efficientnet-lite0": make_efficientnet,
    "nanodet": make_nanodet,
    "opennsfw": make_opennsfw,
}
