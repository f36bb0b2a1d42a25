"""The plan that the search finds beside the true optimum: every subset of a small network's groups, built and measured.

Run: ``python bench/exhaustive.py [--runtime openvino] [--rest fp32] [--work FOLDER] [--phase PHASE]``. The network in
``subsets/`` has ten groups of nodes, trained on Fashion-MNIST. Every subset of them that may be kept in floats, 1,024,
is built as INT8 with these nodes left in ``--rest``, and scored. The phases, each of which goes on where it was
killed:

- ``build``: build and score every subset; may run on a busy machine.
- ``latency``: passes over all of them, timed in turns with the plan that keeps none; needs a quiet machine.
- ``search``: a search over mixed plans for each of a grid of tolerances, quantiles of what the subsets lose.
- ``refine``: more passes over the fastest subsets within each tolerance and the plans that the searches tried.
- ``report``: the table and one JSON line; ``--output`` keeps the line, with every subset.

For each tolerance the optimum is the fastest subset that holds, and the plan found is the fastest that holds of those
that the search built; both latencies come from the same passes, after the search. A subset holds in one of two ways:
by the rule of the search, that is by the bound which its loss on the search items lets a certificate expect; or by the
certificate itself, on all other items, which the search has not seen. As the fastest of many is also the luckiest,
noise makes the optimum look faster than it is, never slower; the standard error is told beside the ratios.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
from scipy.stats import spearmanr
from subsets.ground import Ground, Settings, build_all, open_ground, read_quality
from subsets.latencies import Timed, measure_spread, read_visits, sum_up, time_pass
from subsets.searching import Search, run_search, simulate_all

from assay.core.precision import Precision
from assay.measure.machine import describe_machine

SCRATCH = Path(__file__).parent / "scratch"
PHASES = ("build", "latency", "search", "refine", "report")
QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Of the subsets' losses."""
CLOSE = 1.05
"""Subsets within this ratio of the fastest that holds are timed again."""
PASSES, REFINEMENTS = 4, 12
SIMULATED_ITEMS = 32
SEARCHED, CERTIFIED = "expected by the search items", "certified on all other items"


@dataclass(frozen=True)
class Row:
    """One tolerance.

    Attributes:
        held: how many subsets hold.
        optimum: the fastest of them.
        found: the fastest of those that the search built; none where none holds.
        optimum_ms: time of a call.
        found_ms: likewise.
        error: standard error of their ratio.
    """

    tolerance: float
    held: int
    optimum: int
    found: int | None
    optimum_ms: float
    found_ms: float | None
    error: float | None

    @property
    def ratio(self) -> float | None:
        """How much longer the plan that was found takes."""
        return None if self.found_ms is None else self.found_ms / self.optimum_ms


def run_build(ground: Ground) -> None:
    """Build and score what is missing."""
    for done, _subset in enumerate(build_all(ground)):
        if done % 64 == 0:
            print(f"built and scored {done} of {len(ground.subsets) + 1}", flush=True)


def run_passes(ground: Ground, wanted: Sequence[int], passes: int, file: Path) -> None:
    """Time some subsets in so many passes."""
    for number in range(passes):
        for _visits in time_pass(ground, number, wanted, file):
            pass
        spreads = (measure_spread(sum_up(read_visits(file), cpu=cpu)) for cpu in (False, True))
        told = ["unknown" if spread is None else f"{spread:.2%}" for spread in spreads]
        print(f"pass {number + 1} of {passes}; standard error {told[0]}, of the processor's time {told[1]}", flush=True)


def list_tolerances(losses: Mapping[int, float]) -> list[float]:
    """Quantiles of the losses of all subsets, as far as they differ and are above nothing."""
    found = np.unique(np.round(np.quantile(list(losses.values()), QUANTILES), 4))
    return [float(value) for value in found if value > 0]


def run_searches(ground: Ground) -> None:
    """Search for each tolerance that has not been searched for."""
    folder = ground.settings.work / "searched"
    folder.mkdir(exist_ok=True)
    for tolerance in list_tolerances(read_losses(ground)[SEARCHED]):
        file = folder / f"{tolerance:.6f}.json"
        if not file.is_file():
            found = run_search(ground.settings, tolerance)
            file.write_bytes(msgspec.json.encode(found))
            tries = [f"{one.subset:03x}" for one in found.tries]
            print(f"{tolerance:.2%}: {found.seconds:.0f} s; tried {', '.join(tries) or 'none'}; {found.stopped}")


def read_searches(ground: Ground) -> list[Search]:
    """All searches that were run, the tightest tolerance first."""
    files = sorted((ground.settings.work / "searched").glob("*.json"))
    return [msgspec.json.decode(file.read_bytes(), type=Search) for file in files]


def list_options(ground: Ground, search: Search) -> list[int]:
    """What a study would have to choose from after a search: its plans, all groups quantized, and none."""
    return [0, ground.subsets[-1], *(one.subset for one in search.tries)]


def list_contenders(ground: Ground, timed: Mapping[int, Timed]) -> list[int]:
    """Subsets whose latency decides the table."""
    chosen: set[int] = set()
    for search in read_searches(ground):
        chosen |= set(list_options(ground, search))
        for losses in read_losses(ground).values():
            held = [subset for subset, loss in losses.items() if loss <= search.tolerance]
            fastest = min(timed[subset].milliseconds for subset in held)
            chosen |= {subset for subset in held if timed[subset].milliseconds <= CLOSE * fastest}
    return sorted(chosen)


def read_losses(ground: Ground) -> dict[str, dict[int, float]]:
    """What each subset loses: as the search judges it by its items, and as certificates on all other items say."""
    split = ground.space.split.search
    searched, others = (read_quality(ground, rows) for rows in (slice(0, split), slice(split, None)))
    return {
        SEARCHED: {subset: quality.expected for subset, quality in searched.items()},
        CERTIFIED: {subset: quality.bound for subset, quality in others.items()},
    }


def compare_search(ground: Ground, search: Search, losses: Mapping[int, float], timed: Mapping[int, Timed]) -> Row:
    """One row of the table."""
    held = [subset for subset, loss in losses.items() if loss <= search.tolerance]
    optimum = min((subset for subset in held if subset in timed), key=lambda subset: timed[subset].milliseconds)
    options = [subset for subset in list_options(ground, search) if subset in held]
    found = min(options, key=lambda subset: timed[subset].milliseconds, default=None)
    best_ms = timed[optimum].milliseconds
    if found is None:
        return Row(search.tolerance, len(held), optimum, None, best_ms, None, None)
    spread = measure_spread({subset: timed[subset] for subset in (found, optimum)})
    error = None if spread is None or found == optimum else float(np.sqrt(2)) * spread
    return Row(search.tolerance, len(held), optimum, found, best_ms, timed[found].milliseconds, error)


def tabulate(ground: Ground, timed: Mapping[int, Timed]) -> dict[str, list[float]]:
    """What was measured, simulated and predicted of every subset, in their order."""
    losses, whole = read_losses(ground), read_quality(ground, slice(None))
    simulated = simulate_all(ground, SIMULATED_ITEMS)
    table = {
        "milliseconds": [timed[subset].milliseconds for subset in ground.subsets],
        "loss": [whole[subset].loss for subset in ground.subsets],
        "expected_bound": [losses[SEARCHED][subset] for subset in ground.subsets],
        "certified_bound": [losses[CERTIFIED][subset] for subset in ground.subsets],
        "movement": [whole[subset].movement for subset in ground.subsets],
        "simulated_noise": [simulated[subset] for subset in ground.subsets],
    }
    searches = [search for search in read_searches(ground) if search.predicted_ms]
    if searches:
        levelled = [
            np.array([search.predicted_ms[subset] for subset in ground.subsets]) / search.predicted_ms[0]
            for search in searches
        ]
        table["predicted_ms"] = (np.median(levelled, axis=0) * timed[0].milliseconds).tolist()
        table["predicted_noise"] = [searches[0].predicted_noise[subset] for subset in ground.subsets]
    return {name: [float(f"{value:.4g}") for value in values] for name, values in table.items()}


def judge_predictions(table: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """How well what the search predicts, without building, agrees with what was built and measured."""
    found = {"rank_of_loss_by_simulated_noise": float(spearmanr(table["simulated_noise"], table["movement"]).statistic)}
    if "predicted_ms" not in table:
        return found
    predicted, measured = np.array(table["predicted_ms"]), np.array(table["milliseconds"])
    errors = np.abs(predicted / measured - 1)
    return found | {
        "rank_of_simulated_by_predicted_noise": float(
            spearmanr(table["predicted_noise"], table["simulated_noise"]).statistic
        ),
        "rank_of_latency": float(spearmanr(predicted, measured).statistic),
        "latency_error_median": float(np.median(errors)),
        "latency_error_largest": float(errors.max()),
    }


def print_rows(name: str, rows: Sequence[Row]) -> None:
    """One part of the table."""
    print(f"{name}\ntolerance | hold | optimum | ms | found | ms | ratio | standard error")
    for row in rows:
        cells = [f"{row.tolerance:.2%}", f"{row.held}", f"{row.optimum:03x}", f"{row.optimum_ms:.3f}"]
        if row.found is not None:
            cells += [f"{row.found:03x}", f"{row.found_ms:.3f}", f"{row.ratio:.4f}"]
            cells.append("the same" if row.error is None else f"{row.error:.4f}")
        print(" | ".join(cells))
    ratios = [row.ratio for row in rows if row.ratio is not None]
    if ratios:
        print(
            f"ratio: median {np.median(ratios):.4f}, largest {max(ratios):.4f}; none found: {len(rows) - len(ratios)}"
        )


def report(ground: Ground, screened: Mapping[int, Timed], refined: Mapping[int, Timed]) -> dict[str, object]:
    """Print the table; all of it, with every subset."""
    searches = read_searches(ground)
    rows = {
        name: [compare_search(ground, search, losses, refined) for search in searches]
        for name, losses in read_losses(ground).items()
    }
    for name, found in rows.items():
        print_rows(name, found)
    table = tabulate(ground, screened)
    line = {
        "machine": describe_machine().facts(),
        "runtime": ground.settings.runtime,
        "plan": ground.plan.name,
        "batch": ground.space.request.batch,
        "groups": [group.name for group in ground.groups],
        "items": {"searching": ground.space.split.search, "others": ground.space.split.certification},
        "standard_error": {"all": measure_spread(screened), "contenders": measure_spread(refined)},
        "passes": {"all": screened[0].passes, "contenders": refined[0].passes},
        "contenders": len(refined),
        "predictions": judge_predictions(table),
        "rows": {name: [asdict(row) | {"ratio": row.ratio} for row in found] for name, found in rows.items()},
        "searches": [
            {key: value for key, value in asdict(search).items() if not key.startswith("predicted")}
            for search in searches
        ],
    }
    print(json.dumps(line))
    return line | {"subsets": table}


def main() -> None:
    """Run the phases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phase", choices=(*PHASES, "all"), default="all")
    parser.add_argument("--runtime", default="openvino")
    parser.add_argument("--rest", type=Precision, default=Precision.FP32)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--items", type=int, default=4000)
    parser.add_argument("--passes", type=int, default=PASSES)
    parser.add_argument("--refinements", type=int, default=REFINEMENTS)
    parser.add_argument("--cpu", action="store_true", help="count the processor's time, for a look on a busy machine")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    work = options.work or SCRATCH / f"exhaustive-{options.runtime}-{options.rest}"
    ground = open_ground(Settings(work.resolve(), options.runtime, options.rest, options.items))
    phases = PHASES if options.phase == "all" else (options.phase,)
    passes, refinements = work / "passes.jsonl", work / "refinements.jsonl"
    if "build" in phases:
        run_build(ground)
    if "latency" in phases:
        run_passes(ground, ground.subsets, options.passes, passes)
    if "search" in phases:
        run_searches(ground)
    if "refine" in phases:
        screened = sum_up(read_visits(passes), cpu=options.cpu)
        run_passes(ground, list_contenders(ground, screened), options.refinements, refinements)
    if "report" in phases:
        screened, refined = (sum_up(read_visits(file), cpu=options.cpu) for file in (passes, refinements))
        line = report(ground, screened, refined) | {"clock": "processor" if options.cpu else "wall"}
        if options.output is not None:
            options.output.write_text(json.dumps(line) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
