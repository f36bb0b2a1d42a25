"""A study whose candidates were certified: two are, one fails in a class, one is open, two were not reached."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import replace

import numpy as np
from PIL import Image
from trial_samples import S8S8, U8S8, make_evidence, make_plan, make_quality, make_record, make_trial

from assay.core.certificate import Certificate, CertificateStatus, Design, Look, SliceCertificate
from assay.core.decision import Decision, DecisionStatus
from assay.core.flip import Flip
from assay.core.plan import Plan
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.requirements import SliceRule
from assay.core.sample_plan import SamplePlan
from assay.core.trial import Trial
from assay.studies.record import StudyRecord

MARGIN = 0.005
SEARCHED = 1000
AVAILABLE = 9000
STATUS = CertificateStatus
CHOSEN = "openvino.int8-u8s8-operands-mse"
DEAD_CLASS = "openvino.int8-u8s8-chain-mse"
GARMENTS = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def make_looks(loss: float, ends: tuple[int, ...], scale: float = 0.22) -> tuple[Look, ...]:
    """Bounds that close in on a loss as the square root of the items does."""
    looks = []
    for n in ends:
        wobble = 0.4 * math.sin(n) * scale / math.sqrt(n)
        width = scale * math.sqrt(math.log(n) / n)
        middle = loss + wobble
        looks.append(Look(n, round(middle, 6), round(max(-1.0, middle - width), 6), round(min(1.0, middle + width), 6)))
    return tuple(looks)


def make_slice(value: str, status: CertificateStatus, loss: float, width: float, n: int = 900) -> SliceCertificate:
    reference = 0.93
    return SliceCertificate(
        "class",
        value,
        n,
        reference,
        round(reference - loss, 6),
        loss,
        round(loss - width, 6),
        round(loss + width, 6),
        0.05,
        status,
        59,
    )


def make_certificate(
    status: CertificateStatus,
    looks: tuple[Look, ...] = (),
    *,
    slices: tuple[SliceCertificate, ...] = (),
    reason: str = "",
    order: int = 0,
) -> Certificate:
    """A certificate that says what the last look does; of an untested one, what the search items say."""
    nothing = Look(0, 0.0, 0.0, 0.0) if status is STATUS.UNTESTED else Look(AVAILABLE, 0.001, -0.001, 0.003)
    last = looks[-1] if looks else nothing
    looks = () if status is STATUS.UNTESTED else looks
    return Certificate(
        status=status,
        metric="top1",
        margin=MARGIN,
        loss=last.loss,
        low=last.low,
        high=last.high,
        confidence=0.95,
        n=last.n,
        available=AVAILABLE,
        design=Design.SEQUENTIAL if looks else Design.FIXED,
        method="betting e-process" if looks else "exact paired score interval",
        looks=looks,
        reason=reason,
        slices=slices,
        order=order,
    )


def make_certificates() -> tuple[Certificate, ...]:
    """In the order of testing: BF16, operands, chain with a dead class, symmetric, and two that were not reached."""
    steady = tuple(make_slice(str(k), STATUS.CERTIFIED, 0.002 * k, 0.018) for k in (9, 3, 0))
    dead = (make_slice("6", STATUS.WORSE, 0.124, 0.041, 873), make_slice("2", STATUS.OPEN, 0.031, 0.027, 412))
    told, ended = "class 6 loses too much", "the sequence of tests ended before it"
    beaten = "another loses no more on the search items and is no dearer"
    return (
        make_certificate(STATUS.CERTIFIED, make_looks(0.0002, (300, 600, 1200), 0.05), order=1),
        make_certificate(
            STATUS.CERTIFIED, make_looks(0.0012, (300, 600, 1200, 2400, 4800), 0.08), slices=steady, order=2
        ),
        make_certificate(
            STATUS.WORSE,
            make_looks(0.0031, (300, 600, 1200, 2400, 4800, 9000), 0.05),
            slices=(*dead, *steady),
            reason=told,
            order=3,
        ),
        make_certificate(STATUS.OPEN, make_looks(0.0042, (300, 1200, 4800, 9000), 0.05), order=4),
        make_certificate(STATUS.UNTESTED, (Look(SEARCHED, 0.0046, 0.0021, 0.0071),), order=5, reason=ended),
        make_certificate(STATUS.UNTESTED, reason=beaten),
    )


def make_certified_trials() -> tuple[Trial, ...]:
    chain, operands, mse, minmax = Placement.CHAIN, Placement.OPERANDS, RangeMethod.MSE, RangeMethod.MIN_MAX
    int8, ov, ort = Precision.INT8, "openvino", "onnxruntime"
    forms: tuple[tuple[Precision, str, float, float, Plan], ...] = (
        (Precision.BF16, ov, 6.4, 0.02, make_plan(Precision.BF16)),
        (int8, ov, 5.9, 0.12, make_plan(int8, U8S8, operands, mse)),
        (int8, ov, 4.4, 0.31, make_plan(int8, U8S8, chain, mse)),
        (int8, ov, 4.9, 0.42, make_plan(int8, S8S8, chain, mse)),
        (int8, ov, 4.5, 0.46, make_plan(int8, U8S8, chain, minmax)),
        (int8, ort, 4.2, 0.48, make_plan(int8, U8S8, chain, mse)),
    )
    trials = [make_trial(Precision.FP32, 40.0, make_quality(0.0, 0.0), runtime=ov, reference=True)]
    for (precision, runtime, ms, loss, plan), certificate in zip(forms, make_certificates(), strict=True):
        quality = make_quality(loss, 0.25, n=SEARCHED)
        if certificate.n:
            width = (certificate.high - certificate.low) / 2
            quality = make_quality(round(100 * certificate.loss, 4), round(100 * width, 4), n=certificate.n)
        evidence = make_evidence(ms, quality, precision=precision, size_bytes=1_120_000, share=0.97)
        trials.append(
            make_trial(precision, runtime=runtime, plan=plan, evidence=replace(evidence, certificate=certificate))
        )
    return tuple(trials)


def draw_picture(seed: int, side: int = 56) -> str:
    """A PNG as base64: a soft blob that differs by seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    across, along = rng.uniform(0.3, 1.2, 2)
    values = 255 * np.exp(-3 * ((x / across) ** 2 + (y / along) ** 4)) * rng.uniform(0.8, 1, (side, side))
    stream = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def make_flips(count: int = 8, *, pictures: bool = True) -> tuple[Flip, ...]:
    return tuple(
        Flip(
            item=137 * (k + 1),
            target=GARMENTS[6 - k % 3],
            before=GARMENTS[6 - k % 3],
            after=GARMENTS[k % 4],
            harm=1.0,
            certainty=0.97 - 0.06 * k,
            picture=draw_picture(k) if pictures else "",
            text="" if pictures else f"Sentence {k}: the film is long, and never dull. " * 12,
        )
        for k in range(count)
    )


def make_plan_of_items(**changes: object) -> SamplePlan:
    plan = SamplePlan("top1", MARGIN, 0.95, 0.8, 0.03, 0.0, 7721, 598, AVAILABLE, 0.87, Design.SEQUENTIAL)
    return replace(plan, **changes)  # type: ignore[arg-type] # fields are checked by the dataclass's users


def make_decision(trials: tuple[Trial, ...]) -> Decision:
    reasons = {
        trials[0].id: "the FP32 reference: what takes over at the end",
        trials[1].id: "certified, but 1.08x as slow as the chosen one",
        trials[2].id: "the fastest certified one: loses at most 0.44 pp of top1 at 95% confidence",
        trials[3].id: "loses at most 0.48 pp overall, but too much in a part of the items",
        trials[4].id: "9,000 items cannot tell whether it loses more than 0.50 pp",
        trials[5].id: "not tested: the sequence of tests ended before it",
        trials[6].id: "not tested: another loses no more on the search items and is no dearer",
    }
    sentence = (
        "INT8 on openvino is 6.78x as fast as FP32 and loses at most 0.44 pp of top1 at 95% confidence; "
        "tolerated are 0.50 pp"
    )
    return Decision(
        DecisionStatus.CHOSEN, CHOSEN, (trials[1].id, trials[0].id), sentence, None, (trials[2].id,), reasons
    )


def make_certified_record() -> StudyRecord:
    trials = make_certified_trials()
    record = make_record(trials)
    requirements = replace(record.requirements, slices=(SliceRule.parse("class: 5pp"),))
    flips = {CHOSEN: make_flips(5), DEAD_CLASS: make_flips(8)}
    return replace(
        record, requirements=requirements, decision=make_decision(trials), plan=make_plan_of_items(), flips=flips
    )
