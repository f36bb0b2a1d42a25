"""How often the judge of stability is wrong: false alarms on steady machines, and drifts that it misses.

Prints a table and writes ``results/stability.json``. Run it with a number of repetitions (default 10,000).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.core.stability import SymptomKind
from assay.measure.stability import judge_stability

RESULTS = Path(__file__).parent / "results" / "stability.json"
SIZES = (100, 300, 1000, 3000)
SPREADS = (0.01, 0.02, 0.05, 0.1)

STEADY: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "normal, 2%": lambda rng, n: 1 + 0.02 * rng.standard_normal(n),
    "lognormal, 10%": lambda rng, n: np.exp(0.1 * rng.standard_normal(n)),
    "lognormal, 100%": lambda rng, n: np.exp(rng.standard_normal(n)),
    "Pareto, 1.5": lambda rng, n: 1 + rng.pareto(1.5, n),
    "Cauchy": lambda rng, n: 1 + abs(rng.standard_cauchy(n)),
    "coarse clock": lambda rng, n: np.round(10 + rng.standard_normal(n)),
    "rare spikes": lambda rng, n: 1 + 0.01 * rng.standard_normal(n) + (rng.random(n) < 0.03) * rng.exponential(5, n),
}


def measure_alarms(repetitions: int, rng: np.random.Generator) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name, draw in STEADY.items():
        for n in SIZES:
            alarms = sum(not judge_stability(draw(rng, n)).steady for _ in range(repetitions))
            rows.append({"samples": name, "n": n, "false_alarms": alarms / repetitions})
            print(f"steady {name:16} n={n:<5} false alarms {alarms / repetitions:.2%}")
    return rows


def measure_detection(repetitions: int, rng: np.random.Generator) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for shape in ("ramp", "step"):
        for spread in SPREADS:
            for n in SIZES:
                place = np.linspace(0, 1, n)
                course = 1 + 0.05 * (place if shape == "ramp" else place > 0.5)
                judged = (judge_stability(course * np.exp(spread * rng.standard_normal(n))) for _ in range(repetitions))
                told = sum(any(found.kind is SymptomKind.DRIFT for found in one.findings) for one in judged)
                rows.append({"drift": shape, "spread": spread, "n": n, "detected": told / repetitions})
                print(f"5% {shape:5} spread {spread:.0%} n={n:<5} detected {told / repetitions:.1%}")
    return rows


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rng = np.random.default_rng(11)
    found = {
        "repetitions": repetitions,
        "steady": measure_alarms(repetitions, rng),
        "drift": measure_detection(max(repetitions // 10, 100), rng),
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
