"""The explanation of an INT8 trial, for the terminal and as a document."""

from __future__ import annotations

import math

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from assay.core.explanation import Explanation
from assay.core.sensitivity import Blame, Damage, TensorFacts, WeightFacts

EXPLANATION_SCHEMA = 1
MOST_ROWS = 12
WIDE_COLUMNS = 110
NOTHING = "-"


def show_explanation(explanation: Explanation) -> dict[str, object]:
    """The stable document behind ``assay explain --json``; ``docs/explain.md`` describes it.

    Numbers that are not finite are null: JSON has no way to write them.
    """
    found = explanation.sensitivities
    return {
        "schema": EXPLANATION_SCHEMA,
        "trial": explanation.trial,
        "metric": explanation.metric,
        "items": found.items,
        "passes": found.passes,
        "seconds": found.seconds,
        "together": _show_damage(found.together),
        "groups": [_show_blame(blame) for blame in explanation.blames],
    }


def _show_blame(blame: Blame) -> dict[str, object]:
    one = blame.sensitivity
    return {
        "rank": blame.rank,
        "group": one.group.name,
        "share": blame.share,
        "nodes": [
            {"name": name, "operator": operator, "quantized": name in one.group.quantized}
            for name, operator in zip(one.group.nodes, one.group.operators, strict=True)
        ],
        "alone": _show_damage(one.alone),
        "cumulative": _show_damage(one.cumulative),
        "kept": None if blame.kept is None else _show_damage(blame.kept),
        "activations": [_show_tensor(fact) for fact in blame.activations],
        "weights": [_show_weight(fact) for fact in blame.weights],
        "proposals": [
            {"mend": str(proposal.mend), "text": proposal.text, "reason": proposal.reason}
            for proposal in blame.proposals
        ],
    }


def _show_damage(damage: Damage) -> dict[str, object]:
    return {"noise": _finite(damage.noise), "sqnr_db": _finite(damage.sqnr_db), "loss": damage.loss}


def _show_tensor(fact: TensorFacts) -> dict[str, object]:
    return {
        "tensor": fact.name,
        "limits": [fact.limits.low, fact.limits.high],
        "low": fact.low,
        "high": fact.high,
        "clip_rate": fact.clip_rate,
        "clipping_noise": fact.clipping,
        "rounding_noise": fact.rounding,
        "outlying_channels": fact.outlying,
        "dead_channels": fact.dead,
    }


def _show_weight(fact: WeightFacts) -> dict[str, object]:
    return {"node": fact.node, "noise": fact.noise, "spread": fact.spread, "per_channel": fact.per_channel}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Print the groups that cost most, and what may mend them."""
    found, blames = explanation.sensitivities, explanation.blames
    head = f" in {len(blames)} groups, all quantized: {_write_db(found.together)} on {found.items} items"
    console.print(Text.assemble((explanation.trial, "bold"), head))
    console.print()
    console.print(_draw_groups(blames[:MOST_ROWS], wide=console.width >= WIDE_COLUMNS))
    if len(blames) > MOST_ROWS:
        rest = sum(blame.share for blame in blames[MOST_ROWS:])
        console.print(Text(f"and {len(blames) - MOST_ROWS} more groups with {rest:.0%} together", "dim"))
    for blame in blames[:MOST_ROWS]:
        if blame.proposals:
            console.print()
            console.print(Text(f"{blame.rank:>2} {blame.sensitivity.group.name}", "bold"))
        for proposal in blame.proposals:
            text = Text.assemble((proposal.text, "green"), f": {proposal.reason}")
            console.print(Padding(text, (0, 0, 0, 3)))


def _draw_groups(blames: tuple[Blame, ...], *, wide: bool) -> Table:
    """The table of groups; narrow terminals get the names, the share and the noise."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("group", overflow="fold", min_width=12)
    table.add_column("operators", overflow="fold")
    measures = (
        "share",
        "alone",
        "so far",
        *(("loss", "values", "range", "clipped", "outlying", "dead") if wide else ()),
    )
    for header in measures:
        table.add_column(header, justify="right", no_wrap=True)
    for blame in blames:
        one = blame.sensitivity
        cells = [f"{blame.share:.0%}", _write_db(one.alone), _write_db(one.cumulative)]
        cells += _describe_worst(blame) if wide else []
        table.add_row(str(blame.rank), one.group.name, "+".join(one.group.operators), *cells)
    return table


def _describe_worst(blame: Blame) -> list[str]:
    """The loss, and the facts of the noisiest activation."""
    alone = blame.sensitivity.alone
    loss = NOTHING if alone.loss is None else f"{alone.loss:.2g}"
    if not blame.activations:
        return [loss, *[NOTHING] * 5]
    fact = blame.activations[0]
    spans = [f"{low:.3g} to {high:.3g}" for low, high in ((fact.low, fact.high), (fact.limits.low, fact.limits.high))]
    shares = [NOTHING if share is None else f"{share:.1%}" for share in (fact.outlying, fact.dead)]
    return [loss, *spans, f"{fact.clip_rate:.2%}", *shares]


def _write_db(damage: Damage) -> str:
    """Signal to noise in decibels, in words where it is not finite."""
    if math.isinf(damage.noise):
        return "not finite"
    return "no noise" if damage.noise == 0 else f"{damage.sqnr_db:.1f} dB"
