"""How often a variant that is worse than tolerated is accepted, by Assay's certificates and by point estimates.

Run: ``python bench/false_accepts.py [--replications 20000] [--items 80000000] [--parts fixed sequential best bounded]``
Items are simulated with a true loss of the tolerance itself and of 1.5 times it, at flip rates from 0 to 20% (where the
flip rate is below the loss, every flip is a loss). The designs:

- fixed: the exact test of all items. Besides the simulated rate, the exact one from the test's critical values.
- sequential: a fifth of the items (at most 1,000) for the search, which size the bets; looks at the rest as planned,
  betting at half of the error rate, the exact test of all at the other half, and early ends where it is hopeless.
- best: 20 candidates with correlated flips and random costs; search split, Pareto order, fixed-sequence testing on the
  rest, the cheapest certified one is chosen. A false accept is a chosen one that loses the tolerance or more.
- bounded: losses that are not -1, 0 and 1, as of NDCG; the betting bound of a fixed number, and the sequential design.

The peers accept where the mean loss of all items is at most the tolerance; of 20 they choose the cheapest such. A cell
is accepted against "the loss is at least the tolerance"; its upper bound is Clopper and Pearson's at 99%. Streams of a
cell are cut to ``--items`` items in all. Prints tables and one JSON line; ``--output`` keeps the line.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from scipy import special
from simulated_designs import (
    ALPHA,
    CANDIDATES,
    Bools,
    Cell,
    Draw,
    Finish,
    accept_exactly,
    certify,
    choose,
    count_searched,
    draw_bounded,
    draw_candidates,
    draw_flips,
    finish_bounded,
    finish_flips,
    run_sequence,
    split_rates,
)

from assay.measure.machine import describe_machine

MARGINS = (0.005, 0.01, 0.02, 0.05)
RATES = (0.0, 0.005, 0.01, 0.03, 0.05, 0.10, 0.20)
SIZES = (50, 200, 1000, 5000, 20000)
FACTORS = (1.0, 1.5)
BATCH_ITEMS = 4_000_000
FEWEST = 2000
FIXED_FACTOR = 10
"""Counts of flips are drawn more often than flips of items."""


@dataclass(frozen=True)
class Row:
    """What came out: rates of false accepts, of Assay and of the peers."""

    design: str
    losses: str
    n: int
    margin: float
    rate: float
    factor: float
    replications: int
    accepted: float
    upper99: float
    peers: float
    items_share: float | None = None
    exact: float | None = None


def bound_rate(count: int, n: int) -> float:
    """One-sided upper 99% bound of Clopper and Pearson."""
    return 1.0 if count == n else float(special.betaincinv(count + 1, n - count, 0.99))


def conclude(cell: Cell, accepted: Bools, peers: Bools, share: float | None = None, exact: float | None = None) -> Row:
    """Rates of a cell."""
    n, count = len(accepted), int(accepted.sum())
    return Row(
        **asdict(cell),
        replications=n,
        accepted=count / n,
        upper99=bound_rate(count, n),
        peers=float(peers.mean()),
        items_share=share,
        exact=exact,
    )


def grid(design: str, losses: str = "right or wrong") -> Iterator[Cell]:
    """Cells of flips; rates below the loss coincide."""
    for n in SIZES:
        for margin in MARGINS:
            for factor in FACTORS:
                kept = {max(rate, margin * factor): rate for rate in reversed(RATES)}
                for rate in sorted(kept):
                    yield Cell(design, losses, n, margin, rate, factor)


def simulate_fixed(cell: Cell, replications: int, rng: np.random.Generator) -> Row:
    """One look at all items."""
    lost_rate, won_rate = split_rates(cell)
    lost, won, _ = rng.multinomial(cell.n, [lost_rate, won_rate, 1 - lost_rate - won_rate], replications).T
    accepted = certify(lost, won, cell.n, cell.margin, 1 - ALPHA)
    exact = accept_exactly(cell.n, cell.margin, lost_rate, won_rate)
    return conclude(cell, accepted, (lost - won) <= cell.margin * cell.n + 1e-9, None, exact)


def simulate_sequential(cell: Cell, replications: int, draw: Draw, finish: Finish) -> Row:
    """Peeking, with a last look."""
    accepted, peers, used = [], [], []
    searched = count_searched(cell.n)
    for size in batch(replications, cell.n):
        losses = draw(size)
        certified, items = run_sequence(losses, cell.margin, searched, finish)
        accepted.append(certified)
        used.append(items)
        peers.append(losses.mean(axis=1) <= cell.margin + 1e-12)
    share = float(np.concatenate(used).mean()) / (cell.n - searched)
    return conclude(cell, np.concatenate(accepted), np.concatenate(peers), share)


def batch(replications: int, items: int) -> Iterator[int]:
    """Streams to hold in memory at once."""
    most = max(1, BATCH_ITEMS // items)
    for start in range(0, replications, most):
        yield min(most, replications - start)


def simulate_best(cell: Cell, replications: int, rng: np.random.Generator) -> Row:
    """Twenty candidates, of which the cheapest certified one is chosen; all, or half of them, are no good."""
    accepted, peers, used = [], [], []
    true = np.full(CANDIDATES, cell.margin * cell.factor)
    if cell.losses == "half within":
        true[::2] = 0.0
    bad = true >= cell.margin
    for size in batch(replications, cell.n * CANDIDATES):
        losses = draw_candidates(cell, true, size, rng)
        costs = rng.random((size, CANDIDATES))
        chosen, items = choose(losses, costs, cell.margin)
        used.append(items)
        accepted.append((chosen >= 0) & bad[chosen])
        point = losses.mean(axis=2) <= cell.margin + 1e-12
        cheapest = np.where(point, costs, np.inf).argmin(axis=1)
        peers.append(point.any(axis=1) & bad[cheapest])
    return conclude(cell, np.concatenate(accepted), np.concatenate(peers), float(np.concatenate(used).mean()))


def count_streams(wanted: int, items: int, per_stream: int) -> int:
    """Streams that the items of a cell allow."""
    return int(np.clip(items // per_stream, FEWEST, wanted))


def run_part(part: str, wanted: int, items: int) -> Iterator[Row]:
    """All cells of a part, each with a seed of its own."""
    cells = {
        "fixed": lambda: list(grid("fixed")),
        "sequential": lambda: list(grid("sequential")),
        "best": lambda: [
            Cell("best of 20", losses, n, margin, rate, factor)
            for losses, factors in (("all beyond", FACTORS), ("half within", FACTORS[:1]))
            for n in (200, 1000, 5000)
            for margin in (0.01, 0.02, 0.05)
            for rate in (0.01, 0.05, 0.20)
            for factor in factors
            if rate > margin * factor
        ],
        "bounded": lambda: [
            Cell(f"{design}, bounded", losses, n, margin, rate, factor)
            for design in ("fixed", "sequential")
            for losses, rates in (("changes", (0.05, 0.3)), ("rare total loss", (0.0,)))
            for n in (50, 200, 1000, 5000)
            for margin in (0.01, 0.05)
            for rate in rates
            for factor in FACTORS
        ],
    }[part]()
    for number, cell in enumerate(cells):
        rng = np.random.default_rng([number, len(part)])
        if part == "fixed":
            yield simulate_fixed(cell, FIXED_FACTOR * wanted, rng)
        elif part == "sequential":
            streams = count_streams(wanted, items, cell.n)
            yield simulate_sequential(cell, streams, draw_flips(cell, rng), finish_flips)
        elif part == "best":
            yield simulate_best(cell, count_streams(wanted, items, cell.n * CANDIDATES), rng)
        else:
            yield simulate_bounded(cell, count_streams(wanted, items, cell.n), draw_bounded(cell, rng))


def simulate_bounded(cell: Cell, replications: int, draw: Draw) -> Row:
    """Losses between -1 and 1."""
    if cell.design.startswith("sequential"):
        return simulate_sequential(cell, replications, draw, finish_bounded)
    accepted, peers = [], []
    for size in batch(replications, cell.n):
        losses = draw(size)
        accepted.append(finish_bounded(losses, cell.margin, 1 - ALPHA))
        peers.append(losses.mean(axis=1) <= cell.margin + 1e-12)
    return conclude(cell, np.concatenate(accepted), np.concatenate(peers))


def summarise(rows: list[Row]) -> list[dict[str, Any]]:
    """The worst of each design."""
    found = []
    for design in dict.fromkeys(row.design for row in rows):
        own = [row for row in rows if row.design == design]
        worst = max(own, key=lambda row: row.upper99)
        exact = [row.exact for row in own if row.exact is not None]
        found.append(
            {
                "design": design,
                "cells": len(own),
                "fewest_replications": min(row.replications for row in own),
                "largest_rate": max(row.accepted for row in own),
                "largest_upper99": worst.upper99,
                "largest_exact": max(exact) if exact else None,
                "largest_peers": max(row.peers for row in own),
                "peers_at_tolerance": float(np.mean([row.peers for row in own if row.factor == 1])),
                "worst": asdict(worst),
            }
        )
    return found


def show(row: Row) -> str:
    """One line of the table."""
    share = "" if row.items_share is None else f"{row.items_share:6.2f}"
    exact = "" if row.exact is None else f"{100 * row.exact:6.2f}"
    return (
        f"{row.design:20} {row.losses:15} {row.n:6} {100 * row.margin:4.1f}pp {100 * row.rate:5.1f}% x{row.factor:3} "
        f"{row.replications:6} {100 * row.accepted:6.2f} {100 * row.upper99:6.2f} {exact:>6} {100 * row.peers:6.1f} "
        f"{share:>6}"
    )


def main() -> None:
    """Simulate, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=80_000_000, help="items of a cell, at most")
    names = ("fixed", "sequential", "best", "bounded")
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    start = time.perf_counter()
    print(
        "design               losses               n   tol.  flips true  repl.  rate%  upper  exact  peers  items",
        flush=True,
    )
    rows = []
    for part in arguments.parts:
        for row in run_part(part, arguments.replications, arguments.items):
            rows.append(row)
            print(show(row), flush=True)
    summary = summarise(rows)
    for one in summary:
        print(
            f"{one['design']}: {one['cells']} cells, largest rate {100 * one['largest_rate']:.2f}%, "
            f"largest upper 99% bound {100 * one['largest_upper99']:.2f}%; "
            f"peers up to {100 * one['largest_peers']:.1f}%, at the tolerance {100 * one['peers_at_tolerance']:.1f}% "
            "on average"
        )
    result = {
        "alpha": ALPHA,
        "seconds": round(time.perf_counter() - start, 1),
        "machine": dict(describe_machine().facts()),
        "summary": summary,
        "rows": [asdict(row) for row in rows],
    }
    print(json.dumps(result))
    if arguments.output is not None:
        arguments.output.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))


if __name__ == "__main__":
    main()
