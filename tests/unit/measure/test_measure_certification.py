"""A whole certificate: its design, its verdict, and what may take it back."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from assay.core.certificate import CertificateStatus, Design
from assay.core.requirements import SliceRule, Tolerance
from assay.core.session import Metric, Scores
from assay.measure.certification import Certified, Question, certify, choose_design
from assay.measure.tasks.agreement import AGREEMENT

TOP1 = Metric("top1", higher_is_better=True, labelled=True)
ERROR = Metric("error", higher_is_better=False, labelled=True)
CERTIFIED, WORSE, OPEN = CertificateStatus.CERTIFIED, CertificateStatus.WORSE, CertificateStatus.OPEN


def make_scores(values: NDArray[np.float64], metric: Metric = TOP1, classes: NDArray[np.int64] | None = None) -> Scores:
    columns = {} if classes is None else {"class": classes}
    return Scores({metric.name: values}, values.astype(np.int64), columns=columns)


def flip(right: NDArray[np.float64], lost: int, won: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """So many right items made wrong and wrong ones made right."""
    after = right.copy()
    after[rng.choice(np.flatnonzero(right == 1), lost, replace=False)] = 0
    after[rng.choice(np.flatnonzero(right == 0), won, replace=False)] = 1
    return after


class Drawn:
    """Scores of both, and how far they were drawn."""

    def __init__(self, reference: Scores, variant: Scores) -> None:
        self.pair = reference, variant
        self.most = 0

    def __call__(self, count: int) -> tuple[Scores, Scores]:
        self.most = max(self.most, count)
        return self.pair[0].select(slice(count)), self.pair[1].select(slice(count))


def ask(text: str, *, metric: Metric = TOP1, sequential: bool = True, slices: tuple[str, ...] = ()) -> Question:
    rules = tuple(SliceRule.parse(rule) for rule in slices)
    return Question(metric, Tolerance.parse(f"{metric.name}: {text}"), 0.95, rules, sequential)


def run(
    question: Question, n: int, lost: int, won: int, *, seed: int = 0, right: float = 0.8
) -> tuple[Certified, Drawn]:
    rng = np.random.default_rng(seed)
    before = (rng.random(n) < right).astype(np.float64)
    after = flip(before, lost, won, rng)
    drawn = Drawn(make_scores(before, question.metric), make_scores(after, question.metric))
    return certify(question, drawn, n), drawn


def test_a_test_stops_as_soon_as_the_items_tell() -> None:
    found, drawn = run(ask("2pp"), 10_000, 10, 10)
    certificate = found.certificate
    assert certificate.status is CERTIFIED
    assert certificate.design is Design.SEQUENTIAL
    assert certificate.n == drawn.most < 2_000
    assert certificate.looks[-1].n == certificate.n
    assert certificate.high <= certificate.margin == 0.02
    assert found.quality.n == certificate.n
    assert found.quality.difference == pytest.approx(-certificate.loss)
    assert found.quality.low == pytest.approx(-certificate.high)


def test_a_bad_one_stops_early_too() -> None:
    found, drawn = run(ask("1pp"), 10_000, 900, 100)
    assert found.certificate.status is WORSE
    assert drawn.most < 3_000
    assert found.certificate.low >= 0.01


def test_what_the_items_cannot_tell_uses_them_up_or_is_given_up() -> None:
    found, _ = run(ask("1pp"), 5_000, 80, 40)  # a loss of 0.8 pp
    assert found.certificate.status is OPEN
    hopeless, drawn = run(ask("1pp"), 5_000, 360, 300)  # a loss of 1.2 pp
    assert hopeless.certificate.status is OPEN
    assert drawn.most < 5_000
    assert "could hardly settle" in hopeless.certificate.reason


def test_full_and_few_items_and_slices_are_looked_at_once() -> None:
    assert choose_design(ask("1pp"), 10_000) is Design.SEQUENTIAL
    assert choose_design(ask("1pp", sequential=False), 10_000) is Design.FIXED
    assert choose_design(ask("1pp"), 600) is Design.FIXED
    assert choose_design(ask("1pp", slices=("class: 5pp",)), 10_000) is Design.FIXED
    assert choose_design(ask("0pp"), 10_000) is Design.FIXED
    assert choose_design(ask("100pp"), 10_000) is Design.FIXED
    found, drawn = run(ask("1pp", sequential=False), 10_000, 10, 10)
    assert found.certificate.status is CERTIFIED
    assert drawn.most == found.certificate.n == 10_000
    assert not found.certificate.looks


def test_ten_items_prove_nothing() -> None:
    found, _ = run(ask("1pp"), 10, 0, 0)
    assert found.certificate.status is OPEN
    assert found.certificate.high > 0.25


@pytest.mark.parametrize("sequential", [True, False])
def test_where_lower_is_better_a_rise_is_the_loss(*, sequential: bool) -> None:
    question = ask("2pp", metric=ERROR, sequential=sequential)
    rising, _ = run(question, 10_000, 0, 500)  # the error rate goes up by 5 pp
    assert rising.certificate.status is WORSE
    assert rising.certificate.loss > 0
    falling, _ = run(question, 10_000, 500, 0)
    assert falling.certificate.status is CERTIFIED
    assert falling.quality.value < falling.quality.reference


@pytest.mark.parametrize("sequential", [True, False])
def test_a_relative_tolerance_is_a_share_of_the_reference(*, sequential: bool) -> None:
    good, _ = run(ask("5%", sequential=sequential), 20_000, 40, 40, right=0.4)
    assert good.certificate.status is CERTIFIED
    assert good.certificate.margin == pytest.approx(0.02, rel=0.2)
    assert good.certificate.high <= good.certificate.margin
    bad, _ = run(ask("5%", sequential=sequential), 20_000, 800, 0, right=0.4)  # 4 pp lost, 2 pp tolerated
    assert bad.certificate.status is WORSE
    assert bad.certificate.low >= bad.certificate.margin
    assert bad.certificate.loss == pytest.approx(0.04, abs=0.01)


def test_search_scores_size_the_bets_of_a_relative_tolerance_too() -> None:
    rng = np.random.default_rng(4)
    before = (rng.random(20_000) < 0.8).astype(np.float64)
    after = flip(before, 100, 100, rng)
    drawn = Drawn(make_scores(before[1_000:]), make_scores(after[1_000:]))
    search = make_scores(before[:1_000]), make_scores(after[:1_000])
    found = certify(ask("1%"), drawn, 19_000, search)
    assert found.certificate.status is CERTIFIED
    assert drawn.most < 19_000


def test_agreement_counts_every_change_as_a_loss() -> None:
    rng = np.random.default_rng(1)
    said = rng.integers(0, 10, 10_000)
    changed = np.where(rng.random(10_000) < 0.003, (said + 1) % 10, said)
    question = Question(AGREEMENT, Tolerance.parse("agreement: 1pp"), 0.95)
    drawn = Drawn(Scores({}, said), Scores({}, changed))
    assert certify(question, drawn, 10_000).certificate.status is CERTIFIED
    worse = Drawn(Scores({}, said), Scores({}, np.where(rng.random(10_000) < 0.03, (said + 1) % 10, said)))
    assert certify(question, worse, 10_000).certificate.status is WORSE


@pytest.mark.parametrize("slices", [(), ("class: 20pp",)])
def test_a_dead_class_takes_the_certificate_back(slices: tuple[str, ...]) -> None:
    rng = np.random.default_rng(2)
    classes = rng.integers(0, 50, 20_000)
    before = (rng.random(20_000) < 0.9).astype(np.float64)
    after = np.where(classes == 7, 0.0, before)
    drawn = Drawn(make_scores(before, classes=classes), make_scores(after, classes=classes))
    question = ask("5pp", slices=slices, sequential=False)
    found = certify(question, drawn, 20_000).certificate
    assert found.high <= found.margin  # the whole would pass
    assert found.status is WORSE
    assert "class 7" in found.reason
    assert found.slices[0].value == "7"
    healthy = Drawn(make_scores(before, classes=classes), make_scores(before, classes=classes))
    assert certify(question, healthy, 20_000).certificate.status is CERTIFIED


@pytest.mark.parametrize("text", ["2pp", "2.5%"])
def test_false_certificates_are_rare_under_peeking(text: str) -> None:
    """The true loss is the tolerance itself; of 400 studies, 5% are 20, and 33 would be beyond chance at 99.9%."""
    question, n, accepted = ask(text), 1_500, 0
    for seed in range(400):
        rng = np.random.default_rng([9, seed])
        before = (rng.random(n) < 0.8).astype(np.float64)
        lost = (rng.random(n) < 0.04 / 0.8) & (before == 1)
        won = (rng.random(n) < 0.02 / 0.2) & (before == 0)
        after = np.where(lost, 0.0, np.where(won, 1.0, before))
        found = certify(question, Drawn(make_scores(before), make_scores(after)), n)
        accepted += found.certificate.status is CERTIFIED
    assert accepted <= 33
