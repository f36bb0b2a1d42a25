"""The explanation of an INT8 trial on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from assay.core.explanation import Explanation
from assay.core.sensitivity import Blame
from assay.report.blames import write_db

MOST_ROWS = 12
WIDE_COLUMNS = 110
NOTHING = "-"


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Print the groups that cost most, and what may mend them."""
    found, blames = explanation.sensitivities, explanation.blames
    head = f" in {len(blames)} groups, all quantized: {write_db(found.together)} on {found.items} items"
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
        cells = [f"{blame.share:.0%}", write_db(one.alone), write_db(one.cumulative)]
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
