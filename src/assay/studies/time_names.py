"""Under which names the times of a plan's groups are kept over studies."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from assay.core.mixing import CostTable
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.studies.group_layout import Layout


@dataclass(frozen=True, slots=True)
class TimeNames:
    """Names of a plan's times.

    Attributes:
        groups: format -> name of the time of each group.
        fixed: of what no group has.
        crossing: of converting one element.
    """

    groups: Mapping[Precision, tuple[str, ...]]
    fixed: str
    crossing: str

    def all(self) -> set[str]:
        """Each name once."""
        return {name for names in self.groups.values() for name in names} | {self.fixed, self.crossing}

    def recall(self, layout: Layout, known: Mapping[str, float]) -> CostTable:
        """A table of times that are known.

        Args:
            layout: of the groups.
            known: name -> milliseconds, of all names.
        """
        return CostTable(
            groups=tuple(
                {precision: known[names[index]] for precision, names in self.groups.items()}
                for index in range(layout.owners.count)
            ),
            boundaries=layout.boundaries,
            fixed_ms=known[self.fixed],
            crossing_ms=known[self.crossing],
        )

    def collect(self, table: CostTable) -> Mapping[str, list[float]]:
        """Name -> milliseconds that were measured under it: groups that are alike share a name."""
        found: dict[str, list[float]] = defaultdict(list)
        for precision, names in self.groups.items():
            for name, times in zip(names, table.groups, strict=True):
                found[name].append(times[precision])
        found[self.fixed].append(table.fixed_ms)
        found[self.crossing].append(table.crossing_ms)
        return found


def name_times(layout: Layout, plans: Mapping[Precision, Plan], kept: Precision) -> TimeNames:
    """Names for the times of a plan.

    Args:
        layout: of its groups.
        plans: format -> plan of the form in it.
        kept: format of groups that are not quantized where conversions are measured.
    """
    forms = {precision: _describe_form(plan) for precision, plan in plans.items()}
    groups = {p: tuple(_hash("group", form, signature) for signature in layout.signatures) for p, form in forms.items()}
    integer = forms[Precision.INT8]
    return TimeNames(groups, _hash("rest", integer, layout.rest), _hash("crossing", integer, kept, *layout.signatures))


def _describe_form(plan: Plan) -> object:
    """What of a plan times depend on: not ranges and repairs, which change values alone."""
    scheme = plan.scheme
    if scheme is None:
        return (plan.precision, plan.cast)
    return (plan.precision, plan.rest, scheme.dialect, scheme.placement, scheme.tables)


def _hash(*parts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:24]
