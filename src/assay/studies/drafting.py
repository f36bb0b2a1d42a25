"""Looks for the fastest mixed plan that is expected to hold, by simulating plans on search items; builds nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from assay.core.mixing import CostTable, Mix
from assay.core.plan import Candidate
from assay.core.precision import Precision
from assay.decide.knapsack import CHATTER, Knapsack, solve
from assay.decide.mixed import Draft, Exam, Toll, smooth_loss
from assay.decide.moves import list_moves
from assay.decide.prospects import find_doubt
from assay.studies.mixed_form import MeasuredForm, MixedForm, SettingScore
from assay.studies.standard_output import drop_lines
from assay.studies.workspace import Workspace

DRAFTING_SHARE = 0.1
"""Of a search's wall time that drafts may take, about."""
PASS_SECONDS = 0.5
"""That one draft may take: of a slow model not all search items are run."""
LEAST_ITEMS, LEAST_DRAFTS, MOST_DRAFTS = 64, 8, 96
LADDER = (0.35, 0.6, 1.0, 1.7)
"""Budgets around a guess, in parts of it, whose plans are simulated together."""
HALVINGS = 3
CLOSED = 1.08
"""Ratio of two budgets, one whose plan holds and one whose plan does not, between which nothing is looked for."""
WIDE = 4.0
"""Ratio by which a budget is changed while it is not bracketed."""
MOVES = 8
"""Neighbours that are simulated together."""
PATIENCE = 2
"""Times in a row that such neighbours may bring nothing."""
APART = 0.5
"""Standard error of what a built plan loses beside its draft, as a share of that of the draft's loss: both answer the
same items, and wrongly on mostly the same ones."""


class Drafter:
    """Simulates mixed plans of one form.

    Args:
        space: the study.
        form: whose plans they are.
        measured: of it.
        exam: of the certificates.
        toll: what moving answers costs; None where the task does not tell.

    Attributes:
        drafts: all that were simulated, by mix.
        everything: the form itself, simulated.
    """

    def __init__(
        self, space: Workspace, form: MixedForm, measured: MeasuredForm, exam: Exam, toll: Toll | None
    ) -> None:
        self._form, self._exam, self._toll = form, exam, toll
        self.sack: Knapsack = form.make_sack(measured)
        self.drafts: dict[Mix, Draft] = {}
        seconds = max(measured.item_seconds, 1e-6)
        most = max(LEAST_ITEMS, int(PASS_SECONDS / seconds))
        self._items = min(space.split.search, most)
        allowed = int(DRAFTING_SHARE * space.request.mixed.seconds / (seconds * self._items))
        self._whole = min(MOST_DRAFTS, max(LEAST_DRAFTS, allowed))
        self._left = 0
        floats = form.list_floats()
        self._families: list[Mix] = [(Precision.INT8, one) for one in floats]
        self._families += [(Precision.INT8, *floats)] if len(floats) > 1 else []
        whole = tuple(Precision.INT8 for _ in form.groups)
        (self._whole_score,) = form.score([tuple(range(len(whole)))], self._items)
        self.everything = self._judge(whole, form.base, self._whole_score)
        self.drafts[whole] = self.everything

    def find(self, limit: float, guess: float, *, refine: bool = True) -> Draft | None:
        """The fastest plan whose bound is expected to keep a limit.

        First budgets of noise are halved until the one is found at which the knapsack's plans stop holding; then
        plans next to the best one are tried, for sums of noises rank plans near the limit only roughly.

        Args:
            limit: of the bound, in the metric's own unit.
            guess: a budget of noise to begin with.
            refine: try plans next to the best one.

        Raises:
            BackendError: the model cannot be run.
        """
        self._left = max(LEAST_DRAFTS, (self._whole - len(self.drafts)) // 2)
        self._bracket(limit, guess)
        failed = 0 if refine else PATIENCE
        while (
            failed < PATIENCE and (best := self._pick(limit) or self._choose(limit, self.drafts.values())) is not None
        ):
            moves = [mix for mix in list_moves(self.sack, best.mix, MOST_DRAFTS) if mix not in self.drafts]
            self._simulate(moves[: min(MOVES, self._left)])
            failed = failed + 1 if self._pick(limit) is best else 0
            if not moves or self._left <= 0:
                break
        return self._pick(limit)

    def add(self, mixes: Sequence[Mix]) -> None:
        """Simulate mixes as well, the first ones of them where too few drafts are left.

        Raises:
            BackendError: the model cannot be run.
        """
        self._simulate([mix for mix in mixes if mix not in self.drafts][: max(0, self._whole - len(self.drafts))])

    def price(self, costs: CostTable) -> None:
        """Predict times anew, those of all drafts so far too."""
        self.sack = replace(self.sack, costs=costs)
        priced = {m: replace(one, milliseconds=self.sack.predict_ms(m)) for m, one in self.drafts.items()}
        self.drafts, self.everything = priced, priced[self.everything.mix]

    def _bracket(self, limit: float, guess: float) -> None:
        """Simulate the knapsack's plans around the budget at which they stop holding."""
        budget = min(guess, self._ceiling)
        drafts = self._draft([budget * step for step in LADDER])
        holding = max((one for one, draft in drafts.items() if self._keeps(draft, limit)), default=0.0)
        failing = min((one for one, draft in drafts.items() if not self._keeps(draft, limit)), default=math.inf)
        for _ in range(HALVINGS):
            if failing <= CLOSED * holding or holding >= self._ceiling:
                return
            if math.isinf(failing):
                budget = min(WIDE * holding, self._ceiling)
            else:
                budget = math.sqrt(holding * failing) if 0 < holding < failing else failing / WIDE
            if self._keeps(self._draft([budget]).get(budget), limit):
                holding = max(holding, budget)
            else:
                failing = min(failing, budget)

    def _keeps(self, draft: Draft | None, limit: float) -> bool:
        """Whether a draft's bound keeps a limit; where there is none, nothing breaks it."""
        return draft is None or draft.bound(self._exam) <= limit

    @property
    def _ceiling(self) -> float:
        """A budget that allows everything."""
        own, shared = self.sack.noises.groups, self.sack.noises.shared
        return float(own[np.isfinite(own)].sum() + shared.sum()) + sum(map(sum, self.sack.float_noise.values()))

    def _pick(self, limit: float) -> Draft | None:
        """The fastest draft whose bound keeps a limit; all in floats is where moves may begin, and no mixed plan."""
        return self._choose(limit, [draft for draft in self.drafts.values() if Precision.INT8 in draft.mix])

    def _choose(self, limit: float, drafts: Iterable[Draft]) -> Draft | None:
        """The fastest of some drafts whose bound keeps a limit."""
        holding = [draft for draft in drafts if draft.bound(self._exam) <= limit]
        return min(holding, key=lambda draft: (draft.milliseconds, draft.noise, draft.mix), default=None)

    def _draft(self, budgets: Sequence[float]) -> dict[float, Draft]:
        """The fastest plan within each budget of noise; none where there is none, or no draft is left."""
        mixes = {budget: mix for budget in budgets if (mix := self._solve(budget)) is not None}
        fresh = [mix for mix in dict.fromkeys(mixes.values()) if mix not in self.drafts]
        self._simulate(fresh[: max(0, self._left)])
        return {budget: self.drafts[mix] for budget, mix in mixes.items() if mix in self.drafts}

    def _solve(self, budget: float) -> Mix | None:
        """The fastest mix within a budget of noise, of those that the runtime can realise."""
        with drop_lines(CHATTER):
            found = [mix for family in self._families if (mix := solve(self.sack, budget, family)) is not None]
        ordered = sorted(found, key=self.sack.predict_ms)
        return next((mix for mix in ordered if self._form.compose(mix) is not None), None)

    def _simulate(self, mixes: Sequence[Mix]) -> None:
        """Score mixes on search items, those that the runtime can realise."""
        named = [(mix, candidate) for mix in mixes if (candidate := self._form.compose(mix)) is not None]
        if not named:
            return
        settings = [tuple(i for i, precision in enumerate(mix) if precision is Precision.INT8) for mix, _ in named]
        scores = self._form.score(settings, self._items)
        self._left -= len(named)
        for (mix, candidate), score in zip(named, scores, strict=True):
            self.drafts[mix] = self._judge(mix, candidate, score)

    def _judge(self, mix: Mix, candidate: Candidate, score: SettingScore) -> Draft:
        """A draft out of what was simulated: its groups in 16 bits ran in FP32, and add what they add alone."""
        own = math.inf if score.noise is None else score.noise
        narrow = self.sack.sum_float_noise(mix)
        loss, moved, variance = score.loss, score.moved, score.variance
        if moved is not None and self._toll is not None:
            whole = self._whole_score
            reach = (whole.moved or 0.0) / math.sqrt(whole.noise) if whole.noise else 0.0
            # Scores move as the root of the noise; what that costs, and how widely, is in proportion to the movement.
            farther = math.hypot(moved, reach * math.sqrt(narrow))
            loss += self._toll.loss * (farther - moved)
            # Few items without a flip leave a variance open that so many more items would not.
            variance = max(self._toll.variance * farther, variance * min(1.0, self._items / self._exam.items))
            moved = farther
        elif 0 < own < math.inf:
            more = math.sqrt((own + narrow) / own)
            loss, variance = max(loss, loss * more), variance * more
        error = math.sqrt(score.variance / self._items)
        return Draft(
            mix,
            candidate,
            self.sack.predict_ms(mix),
            own + narrow,
            loss=math.inf if math.isinf(own) else smooth_loss(loss, error, moved, self._toll),
            variance=variance,
            error=math.hypot(find_doubt(error, moved, self._toll), APART * error),
        )
