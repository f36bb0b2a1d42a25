"""Whether a trial keeps the limits of a small device: memory that was proved, a rate of frames, power."""

from __future__ import annotations

import math

from assay.core.estimate import Estimate
from assay.core.requirements import Bounded, Constraint
from assay.core.trial import Evidence
from assay.decide import words
from assay.decide.finding import Finding, Verdict, divide, judge_bytes

DEVICE_BOUNDS = frozenset({Bounded.MEMORY, Bounded.FPS, Bounded.WATTS, Bounded.ENERGY})


def judge_device(constraint: Constraint, evidence: Evidence) -> Finding:
    """One constraint of a device."""
    held = evidence.held
    if constraint.quantity is Bounded.MEMORY:
        return judge_memory(constraint, evidence)
    if held is not None and held.failure and constraint.quantity is not Bounded.ENERGY:
        reason = held.failure if held.limit_bytes is None else "under the limit of memory no frame ran"
        text = f"'{constraint.text}' is missed: {reason}"
        return Finding(Verdict.FAILS, text, math.inf)
    if constraint.quantity is Bounded.FPS:
        return judge_fps(constraint, None if held is None else held.fps)
    if constraint.quantity is Bounded.WATTS:
        return judge_power(constraint, None if held is None else held.watts, "W", "no power was measured")
    return judge_power(constraint, evidence.energy, "J per item", evidence.energy_note or "no energy was measured")


def judge_memory(constraint: Constraint, evidence: Evidence) -> Finding:
    """Memory, by a run in a process that was held to the limit; by the measured peak where there was none."""
    held, peak = evidence.held, evidence.footprint.peak_memory_bytes
    limit = int(constraint.limit)
    if held is None or held.limit_bytes != limit:
        return judge_bytes(constraint, "peak memory", peak)
    if held.failure:
        text = f"'{constraint.text}' is missed: {held.failure}, in a process held to it by {held.means}"
        return Finding(Verdict.FAILS, text, max(1.0, divide(peak, limit)))
    found = judge_bytes(constraint, "peak memory", held.peak_memory_bytes)
    ran = f"{words.format_count(held.frames)} frames ran in a process held to it by {held.means}"
    return Finding(found.verdict, f"{found.words} ({ran})", found.excess)


def judge_fps(constraint: Constraint, estimate: Estimate | None) -> Finding:
    """The rate of consecutive frames, by its lower bound."""
    if estimate is None:
        return Finding(Verdict.UNDECIDED, f"no rate of frames was measured for '{constraint.text}'", math.inf)
    value = f"{words.format_significant(estimate.value)} frames/s"
    excess = max(1.0, divide(constraint.limit, estimate.value))
    if estimate.high is not None and estimate.high < constraint.limit:
        text = f"{value} (at most {words.format_significant(estimate.high)}) miss '{constraint.text}'"
        return Finding(Verdict.FAILS, text, excess)
    if estimate.low is None:
        text = f"{value} in {estimate.n} runs give no lower bound for '{constraint.text}'"
        return Finding(Verdict.UNDECIDED, text, excess)
    bound = f"{value} (at least {words.format_significant(estimate.low)})"
    if estimate.low >= constraint.limit:
        return Finding(Verdict.MEETS, f"{bound} keep '{constraint.text}'")
    return Finding(Verdict.UNDECIDED, f"{bound} may miss '{constraint.text}'", excess)


def judge_power(constraint: Constraint, estimate: Estimate | None, unit: str, missing: str) -> Finding:
    """Power or energy, by its upper bound."""
    if estimate is None:
        return Finding(Verdict.UNDECIDED, f"'{constraint.text}' cannot be told: {missing}", math.inf)
    value = f"{words.format_significant(estimate.value)} {unit}"
    excess = max(1.0, divide(estimate.value, constraint.limit))
    if estimate.low is not None and estimate.low > constraint.limit:
        text = f"{value} (at least {words.format_significant(estimate.low)}) misses '{constraint.text}'"
        return Finding(Verdict.FAILS, text, excess)
    if estimate.high is None:
        return Finding(Verdict.UNDECIDED, f"{value} has no upper bound to hold to '{constraint.text}'", excess)
    bound = f"{value} (at most {words.format_significant(estimate.high)})"
    if estimate.high <= constraint.limit:
        return Finding(Verdict.MEETS, f"{bound} keeps '{constraint.text}'")
    return Finding(Verdict.UNDECIDED, f"{bound} may miss '{constraint.text}'", excess)
