"""Chooses the draft to build next: the one that is expected to save the most time beside what is built already."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from assay.core.mixing import Mix
from assay.core.precision import Precision
from assay.decide.mixed import Draft, Exam, Seen, Toll, find_factor, smooth_loss
from assay.decide.moves import list_changes, list_quieter
from assay.decide.prospects import Prospect, estimate_chance, expect_saving, find_doubt
from assay.studies.drafting import Drafter

PARENTS = 3
"""Drafts whose neighbours are looked at."""
NEIGHBOURS = 8
"""That are drafted before a plan is chosen."""
NEIGHBOUR_ERROR = 0.1
"""Standard error of a neighbour's loss beside that of its draft's, as a share of it: sums of noises tell it roughly."""
LEAST_SAVING = 2e-3
"""Of the time that the INT8 form takes: what is expected to save less is not worth a trial."""
LEAST_CHANCE = 0.1
"""Of holding: what most likely fails would take its trial's time, and its place among the plans, for nothing."""

Built = Sequence[tuple[Seen, Draft]]


class Prospector:
    """Tells what is worth building.

    Args:
        drafter: whose drafts they are.
        base: the form whose groups are mixed.
        seen: every candidate that ran before the search.
        exam: of the certificates.
        toll: what moving answers costs; None where the task does not tell.
    """

    def __init__(self, drafter: Drafter, base: Seen, seen: Sequence[Seen], exam: Exam, toll: Toll | None) -> None:
        self._drafter, self._base, self._seen = drafter, base, seen
        self._exam, self._toll = exam, toll

    def pick(self, built: Built, known: Collection[Mix]) -> Draft | None:
        """The most promising draft, once its like are drafted, too; None where none is worth a trial.

        Args:
            built: plans that ran with their drafts.
            known: plans that were tried, and the form itself.

        Raises:
            BackendError: the model cannot be run.
        """
        others = [self._judge(one, one.latency_ms) for one in self._seen]
        before = {one.candidate.id for one in self._seen}
        others += [
            self._judge(one, self._drafter.sack.predict_ms(draft.mix))
            for one, draft in built
            if one.candidate.id not in before
        ]
        factor = find_factor(built, self._exam)
        self._widen(self._rank(others, factor, known)[:PARENTS], others, factor)
        ranked = self._rank(others, factor, known)
        return ranked[0] if ranked else None

    def share(self, draft: Draft, built: Built) -> float:
        """Part of the tolerance that the bound of a draft is expected to take."""
        margin = self._base.margin
        return find_factor(built, self._exam) * max(0.0, draft.bound(self._exam)) / margin if margin > 0 else 1.0

    def _judge(self, seen: Seen, milliseconds: float) -> Prospect:
        """A candidate that ran: its loss is known as well as its search items tell."""
        loss = smooth_loss(seen.loss, seen.error, seen.moved, self._toll)
        doubt = find_doubt(seen.error, seen.moved, self._toll)
        return Prospect(milliseconds, estimate_chance(loss, seen.variance, doubt, seen.margin, self._exam))

    def _rank(self, others: Sequence[Prospect], factor: float, known: Collection[Mix]) -> list[Draft]:
        """Drafts that are worth a trial, the most promising first."""
        least = LEAST_SAVING * self._base.latency_ms
        prospects = {
            mix: self._expect(draft, draft.milliseconds, factor, 0.0)
            for mix, draft in self._drafter.drafts.items()
            if mix not in known and Precision.INT8 in mix
        }
        savings = {mix: expect_saving(one, others) for mix, one in prospects.items() if one.chance >= LEAST_CHANCE}
        worth = [mix for mix, saving in savings.items() if saving > least]
        return [self._drafter.drafts[mix] for mix in sorted(worth, key=lambda mix: (-savings[mix], mix))]

    def _expect(self, draft: Draft, milliseconds: float, ratio: float, further: float) -> Prospect:
        """What a plan is expected to be that loses so many times what a draft does.

        Args:
            draft: of it, or of a neighbour.
            milliseconds: of one call.
            ratio: of the losses.
            further: standard error of that ratio, as a share of it.
        """
        loss, error = draft.loss * ratio, math.hypot(draft.error, further * draft.loss) * ratio
        chance = estimate_chance(loss, draft.variance * ratio, error, self._base.margin, self._exam)
        return Prospect(milliseconds, chance)

    def _widen(self, parents: Sequence[Draft], others: Sequence[Prospect], factor: float) -> None:
        """Draft the most promising neighbours of some drafts."""
        sack, drafts = self._drafter.sack, self._drafter.drafts
        near: dict[Mix, float] = {}
        for parent in parents:
            noise = sack.predict_noise(parent.mix)
            floats = sorted(set(parent.mix) - {Precision.INT8})
            for mix in {*list_changes(sack, parent.mix), *list_quieter(parent.mix, floats)} - set(drafts):
                if Precision.INT8 not in mix or noise <= 0:
                    continue
                ratio = factor * math.sqrt(sack.predict_noise(mix) / noise)
                expected = self._expect(parent, sack.predict_ms(mix), ratio, NEIGHBOUR_ERROR)
                near[mix] = max(near.get(mix, 0.0), expect_saving(expected, others))
        least = LEAST_SAVING * self._base.latency_ms
        worth = [mix for mix, saving in near.items() if saving > least]
        self._drafter.add(sorted(worth, key=lambda mix: (-near[mix], mix))[:NEIGHBOURS])
