"""``assay load``: send queries to what would serve, and hold its latency to its constraints."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from assay.core.errors import RequestError
from assay.core.estimate import Estimate
from assay.core.price import Price, carbon_per_million, cost_per_million
from assay.core.requirements import LEAST_CONFIDENCE, Bounded, Constraint
from assay.core.session import Session
from assay.core.target import ServingMode
from assay.core.tensor import Feeds
from assay.decide.assess import judge_percentile, judge_throughput
from assay.decide.device import DEVICE_BOUNDS
from assay.decide.finding import Finding, Verdict
from assay.measure.energy import measure_energy
from assay.measure.machine import count_usable_cores
from assay.measure.meters import find_energy_meter
from assay.measure.scenarios.find_rate import FoundRate, find_rate
from assay.measure.scenarios.loadgen import load_loadgen, run_loadgen
from assay.measure.scenarios.offline import run_offline
from assay.measure.scenarios.outcome import Asked, Driver, Outcome, Scenario
from assay.measure.scenarios.server import run_server
from assay.measure.scenarios.single_stream import run_single_stream
from assay.studies.load_target import LoadTarget, find_target, make_queries
from assay.studies.prices import find_price
from assay.studies.progress import Progress

ENERGY_SECONDS = 2.0


class LoadStatus(StrEnum):
    """How a load ended."""

    HOLDS = "holds"
    BROKEN = "broken"
    OPEN = "open"

    @property
    def exit_code(self) -> int:
        """Of the command."""
        return {LoadStatus.HOLDS: 0, LoadStatus.BROKEN: 10, LoadStatus.OPEN: 11}[self]


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What a load is asked to do.

    Attributes:
        subject: an ``.onnx`` file, a release folder or ``STUDY:TRIAL``.
        rate: items per second that arrive; of the server.
        searching: find the highest rate that keeps the constraint.
        seconds: least time of the run; of a search, the time of all its runs.
        evaluation: data set whose items are sent; random arrays where None.
        confidence: one-sided, where a constraint has none of its own.
        workers: sessions that answer at once; of the server.
        accept_unsteady: judge although the machine did not hold still.
        seed: of arrivals and random arrays.
    """

    subject: str
    scenario: Scenario
    constraints: tuple[Constraint, ...] = ()
    rate: float | None = None
    searching: bool = False
    seconds: float = 10.0
    driver: Driver = Driver.OWN
    evaluation: str | None = None
    prices: Path | None = None
    machine: str | None = None
    confidence: float = 0.95
    runtime: str | None = None
    threads: int | None = None
    batch: int | None = None
    workers: int = 1
    accept_unsteady: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse contradictions.

        Raises:
            RequestError: naming the contradiction.
        """
        refuse_contradictions(self)

    @property
    def asked(self) -> Asked:
        """What is to be known of the latency."""
        bounds = ((c.quantity.quantile, c.confidence or self.confidence) for c in self.constraints)
        return Asked(self.confidence, tuple((share, sure) for share, sure in bounds if share is not None))


@dataclass(frozen=True, slots=True)
class LoadAnswer:
    """What a load showed.

    Attributes:
        title: of what answered.
        outcome: of the run; of a search, the run that was certified, or the last one.
        found: what a search for a rate found.
        findings: one for each constraint, in their order.
        throughput: items per second that the cost is of.
        cost: money per million items; None without a price or where nothing holds.
        energy: joules per item; None where the machine cannot tell.
        carbon: grams of CO2 equivalent per million items; None where that is not known.
        notes: why something is None, and what else is to be known.
    """

    title: str
    status: LoadStatus
    outcome: Outcome
    found: FoundRate | None
    findings: tuple[Finding, ...]
    throughput: Estimate | None
    price: Price | None
    cost: Estimate | None
    energy: Estimate | None
    carbon: Estimate | None
    notes: tuple[str, ...]


def refuse_contradictions(request: LoadRequest) -> None:
    """Refuse what cannot be measured together.

    Raises:
        RequestError: naming the contradiction.
    """
    percentiles = [c for c in request.constraints if c.quantity.quantile is not None]
    serving = request.scenario is Scenario.SERVER
    for constraint in request.constraints:
        if constraint.quantity in {Bounded.SIZE, *DEVICE_BOUNDS}:
            raise RequestError(f"'{constraint.text}' is not about load", "bound a percentile or the throughput")
    if request.scenario is Scenario.OFFLINE and percentiles:
        raise RequestError("a query has no latency offline", "bound the throughput, or take --scenario server")
    if serving and not request.searching and request.rate is None:
        raise RequestError("a server needs a rate of arrivals", "give --rate, or --find-rate with a constraint")
    if request.rate is not None and (not serving or request.searching or not 0 < request.rate < np.inf):
        raise RequestError(
            f"--rate {request.rate} does not fit", "it is a positive number, of a server without --find-rate"
        )
    if request.searching and (not serving or len(percentiles) != 1 or request.driver is Driver.LOADGEN):
        hint = "give --scenario server, --driver own and a constraint such as 'p99 <= 10ms at 99%'"
        raise RequestError("--find-rate needs a server, our own driver and one percentile's bound", hint)
    if not request.seconds > 0 or request.workers < 1 or not LEAST_CONFIDENCE <= request.confidence < 1:
        said = f"seconds {request.seconds:g}, workers {request.workers} or confidence {request.confidence:g}"
        hint = "seconds are positive, workers 1 or more, the confidence 0.5 or more and less than 1"
        raise RequestError(f"{said} is out of range", hint)
    if request.workers > 1 and (not serving or request.driver is Driver.LOADGEN):
        raise RequestError("several workers need a server and our own driver", "leave --workers out")
    if request.machine is not None and request.prices is None:
        raise RequestError("a machine is named and no price file", "give --prices")


def run_load(request: LoadRequest, progress: Progress) -> LoadAnswer:
    """Send queries and judge the answers.

    Raises:
        InputError: the request, the model, the data or the price file is wrong.
        BackendError: the model cannot be opened, or fails.
        MeasurementError: nothing could be measured.
    """
    price = None if request.prices is None else find_price(request.prices, request.machine)
    if request.driver is Driver.LOADGEN:
        load_loadgen()
    rng = np.random.default_rng(request.seed)
    with ExitStack() as stack:
        progress.start("opening", None)
        target = find_target(request.subject, request.runtime, request.threads, request.batch, stack)
        mode = ServingMode.THROUGHPUT if request.scenario is Scenario.OFFLINE else ServingMode.LATENCY
        sessions = [stack.enter_context(target.open(mode)) for _ in range(request.workers)]
        queries = make_queries(target, sessions[0].signature, request.evaluation, rng)
        progress.finish()
        progress.start(f"{request.scenario}: {target.title}", None)
        outcome, found = send(request, sessions, queries, rng)
        energy, why = read_energy(target, sessions[0], queries[0], request)
        progress.finish()
    findings = tuple(judge(constraint, outcome, found) for constraint in request.constraints)
    status = conclude(request, outcome, found, findings)
    throughput = choose_throughput(outcome, found)
    carbon, no_carbon = carbon_per_million(energy, price)
    held = status is not LoadStatus.BROKEN and all(finding.verdict is Verdict.MEETS for finding in findings)
    known = price is not None and throughput is not None and held
    notes = list(explain_cores(price, target, request.workers))
    if price is not None and not known:
        notes.append("no cost: no throughput is shown to keep the constraint")
    notes += [why] if why else []
    notes += [f"no carbon: {no_carbon}"] if no_carbon and price is not None else []
    return LoadAnswer(
        title=target.title,
        status=status,
        outcome=outcome,
        found=found,
        findings=findings,
        throughput=throughput,
        price=price,
        cost=cost_per_million(throughput, price) if known and throughput is not None and price is not None else None,
        energy=energy,
        carbon=carbon,
        notes=tuple(notes),
    )


def send(
    request: LoadRequest, sessions: Sequence[Session], queries: Sequence[Feeds], rng: np.random.Generator
) -> tuple[Outcome, FoundRate | None]:
    """Run the scenario."""
    asked, seconds = request.asked, request.seconds
    if request.searching:
        bound = next(c for c in request.constraints if c.quantity.quantile is not None)
        found = find_rate(sessions, queries, bound, confidence=request.confidence, seconds=seconds, rng=rng)
        return found.runs[-1] if found.runs else found.alone, found
    if request.driver is Driver.LOADGEN:
        limits = [c.limit for c in request.constraints if c.quantity.quantile is not None]
        target_ms = min(limits, default=None)
        return run_loadgen(
            request.scenario,
            sessions[0],
            queries,
            asked,
            seconds=seconds,
            rate=request.rate,
            target_ms=target_ms,
            rng=rng,
        ), None
    if request.scenario is Scenario.SERVER:
        return run_server(sessions, queries, asked, rate=request.rate or 0.0, seconds=seconds, rng=rng), None
    run = run_offline if request.scenario is Scenario.OFFLINE else run_single_stream
    return run(sessions[0], queries, asked, seconds=seconds), None


def judge(constraint: Constraint, outcome: Outcome, found: FoundRate | None) -> Finding:
    """One constraint beside what was measured."""
    quantile = constraint.quantity.quantile
    if quantile is None:
        return judge_throughput(constraint, outcome.rate)
    if found is not None:
        if found.estimate is not None:
            return Finding(Verdict.MEETS, f"'{constraint.text}' is kept up to {found.estimate.low:.4g} items/s")
        if found.runs:
            return Finding(Verdict.UNDECIDED, found.reason)
    estimate = None if outcome.latency is None else outcome.latency.at(quantile, constraint.confidence)
    if estimate is None:
        return Finding(Verdict.UNDECIDED, f"{constraint.quantity} was not measured for '{constraint.text}'")
    finding = judge_percentile(constraint, quantile, estimate)
    if found is not None and finding.verdict is Verdict.MEETS:
        return Finding(Verdict.UNDECIDED, found.reason)
    return finding


def conclude(
    request: LoadRequest, outcome: Outcome, found: FoundRate | None, findings: Sequence[Finding]
) -> LoadStatus:
    """Whether everything holds: a machine that did not hold still shows nothing, unless that is accepted."""
    verdicts = {finding.verdict for finding in findings}
    if not outcome.stability.steady and not request.accept_unsteady:
        return LoadStatus.OPEN
    if outcome.overloaded and found is None:
        return LoadStatus.BROKEN
    if Verdict.FAILS in verdicts:
        return LoadStatus.BROKEN
    doubts = set(outcome.reasons) - {symptom.words for symptom in outcome.stability.findings}
    return LoadStatus.OPEN if Verdict.UNDECIDED in verdicts or (doubts and not findings) else LoadStatus.HOLDS


def choose_throughput(outcome: Outcome, found: FoundRate | None) -> Estimate | None:
    """Items per second that a machine is paid for."""
    return outcome.rate if found is None else found.estimate


def read_energy(
    target: LoadTarget, session: Session, query: Feeds, request: LoadRequest
) -> tuple[Estimate | None, str]:
    """Joules per item, or None and why."""
    meter, why = find_energy_meter(target.target.device)
    if meter is None:
        return None, f"energy: {why}"
    seconds = min(ENERGY_SECONDS, request.seconds)
    return measure_energy(meter, session, query, seconds=seconds, confidence=request.confidence), ""


def explain_cores(price: Price | None, target: LoadTarget, workers: int) -> tuple[str, ...]:
    """What to know where the priced machine has other cores than were used here."""
    if price is None:
        return ()
    used = target.target.threads * workers
    if price.cores is None or price.cores == used:
        return ()
    here = count_usable_cores()
    text = f"{price.name} has {price.cores} cores; measured with {used} threads on a machine with {here} cores"
    return (f"{text}: the cost is of a machine that does only this",)
