"""Trials and a whole study record with made-up but plausible numbers, for tests of what reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from assay.core.audit import ExecutionAudit, NodeExecution
from assay.core.estimate import Estimate
from assay.core.plan import Candidate, IntegerDialect, Plan, Scheme
from assay.core.precision import CastStyle, IntegerFormat, Placement, Precision, RangeMethod
from assay.core.requirements import Constraint, Objective, Requirements, Tolerance
from assay.core.trial import Evidence, Footprint, Latency, Quality, Trial, TrialStatus
from assay.decide.conclude import conclude
from assay.studies.record import RECORD_SCHEMA, DataProvenance, ModelProvenance, StudyRecord

U8S8 = IntegerDialect(IntegerFormat.U8, symmetric=False)
S8S8 = IntegerDialect(IntegerFormat.S8, symmetric=True)
REFERENCE_MS = 40.0


def make_requirements(tolerance: str = "top1: 0.5pp", *constraints: str, **others: object) -> Requirements:
    objective = others.get("objective", Objective.LATENCY)
    price = others.get("price_per_hour")
    assert isinstance(objective, Objective)
    assert price is None or isinstance(price, float)
    return Requirements(
        Tolerance.parse(tolerance),
        objective=objective,
        constraints=tuple(Constraint.parse(text) for text in constraints),
        price_per_hour=price,
    )


def make_plan(
    precision: Precision,
    dialect: IntegerDialect = U8S8,
    placement: Placement = Placement.CHAIN,
    ranges: RangeMethod = RangeMethod.MSE,
    rest: Precision = Precision.FP32,
) -> Plan:
    if precision is Precision.INT8:
        return Plan(precision, rest=rest, scheme=Scheme(dialect, placement, ranges))
    return Plan(precision, cast=None if precision is Precision.FP32 else CastStyle.HINT)


def make_quality(
    loss_pp: float = 0.1,
    half_width_pp: float = 0.1,
    *,
    n: int = 10_000,
    metric: str = "top1",
    higher_is_better: bool = True,
    reference: float = 0.93,
) -> Quality:
    difference = -loss_pp / 100 if higher_is_better else loss_pp / 100
    net = round(-difference * n) if higher_is_better else round(difference * n)
    won = max(3, -net + 3)
    return Quality(
        metric=metric,
        higher_is_better=higher_is_better,
        reference=reference,
        value=reference + difference,
        difference=difference,
        low=difference - half_width_pp / 100,
        high=difference + half_width_pp / 100,
        confidence=0.95,
        n=n,
        flips_lost=won + net,
        flips_won=won,
        agreement=1 - 1.4 * (2 * won + net) / n,
        method="paired score interval",
    )


def make_percentile(value: float, spread: float = 0.01, *, bounded: bool = True, n: int = 400) -> Estimate:
    return Estimate(value, value * (1 - spread), value * (1 + spread) if bounded else None, 0.95, n, "ms")


def make_evidence(
    ms: float = 10.0,
    quality: Quality | None = None,
    *,
    precision: Precision = Precision.FP32,
    size_bytes: int = 4_000_000,
    memory_bytes: int = 120_000_000,
    calls: int = 400,
    spread: float = 0.01,
    flags: tuple[str, ...] = (),
    share: float = 1.0,
) -> Evidence:
    speedup = REFERENCE_MS / ms
    main = round(1_000_000 * share)
    return Evidence(
        quality=quality,
        latency=Latency(
            make_percentile(ms, spread, n=calls),
            make_percentile(ms * 1.1, spread, n=calls),
            make_percentile(ms * 1.3, spread * 3, bounded=calls >= 299, n=calls),
            batch=4,
            n=calls,
        ),
        throughput=Estimate(4500 / ms, 4400 / ms, 4600 / ms, 0.95, 20, "items/s"),
        speedup=Estimate(speedup, speedup * (1 - spread), speedup * (1 + spread), 0.95, calls, "1"),
        footprint=Footprint(size_bytes, memory_bytes, memory_bytes // 2, 180.0, 21.0),
        audit=ExecutionAudit(
            (
                NodeExecution("conv", "Convolution", precision, "brgconv_avx512", main),
                NodeExecution("head", "FullyConnected", Precision.FP32, "gemm", 1_000_000 - main),
            )
        ),
        cpu_seconds=Estimate(ms / 4000, ms / 4100, ms / 3900, 0.95, 20, "s"),
        energy=None,
        energy_note="no RAPL counters are readable on this machine",
        flags=flags,
    )


def make_trial(
    precision: Precision,
    ms: float = 10.0,
    quality: Quality | None = None,
    *,
    runtime: str = "openvino",
    plan: Plan | None = None,
    evidence: Evidence | None = None,
    reference: bool = False,
) -> Trial:
    return Trial(
        Candidate(runtime, plan or make_plan(precision)),
        TrialStatus.OK,
        evidence=evidence or make_evidence(ms, quality, precision=precision),
        reference=reference,
        artifact="0" * 12,
    )


def make_reference(ms: float = REFERENCE_MS, runtime: str = "openvino") -> Trial:
    return make_trial(Precision.FP32, ms, runtime=runtime, reference=True)


def make_missing(precision: Precision, runtime: str, reason: str, status: TrialStatus = TrialStatus.FAILED) -> Trial:
    return Trial(Candidate(runtime, make_plan(precision)), status, reason)


def make_realistic_trials() -> tuple[Trial, ...]:
    ov, ort, int8 = "openvino", "onnxruntime", Precision.INT8
    chain, operands, mse, minmax = Placement.CHAIN, Placement.OPERANDS, RangeMethod.MSE, RangeMethod.MIN_MAX

    def quantized(runtime: str, ms: float, loss: float, width: float, plan: Plan, share: float = 0.98) -> Trial:
        evidence = make_evidence(
            ms, make_quality(loss, width), precision=int8, size_bytes=1_120_000, memory_bytes=96_000_000, share=share
        )
        return make_trial(int8, runtime=runtime, plan=plan, evidence=evidence)

    fp16 = make_evidence(
        62.0,
        make_quality(0.0, 0.03),
        precision=Precision.FP32,
        size_bytes=2_050_000,
        flags=("asked for fp16, but only 0% ran so: 100% ran in fp32",),
    )
    slow = make_evidence(
        41.2,
        make_quality(0.28, 0.17),
        precision=Precision.FP32,
        size_bytes=1_130_000,
        flags=("asked for INT8, but 100% of the multiply-accumulates ran in FP32",),
    )
    return (
        make_trial(Precision.FP32, 40.0, make_quality(0.0, 0.0), runtime=ov, reference=True),
        make_trial(Precision.FP16, runtime=ov, evidence=fp16),
        make_trial(Precision.BF16, 6.4, make_quality(0.02, 0.05), runtime=ov),
        quantized(ov, 4.4, 0.31, 0.14, make_plan(int8, U8S8, chain, mse)),
        quantized(ov, 4.5, 0.72, 0.20, make_plan(int8, U8S8, chain, minmax)),
        quantized(ov, 5.9, 0.12, 0.11, make_plan(int8, U8S8, operands, mse), 0.93),
        quantized(ov, 4.9, 0.42, 0.16, make_plan(int8, S8S8, chain, mse)),
        quantized(ov, 4.1, 0.37, 0.15, make_plan(int8, U8S8, chain, mse, Precision.BF16)),
        make_trial(Precision.FP32, 47.0, make_quality(0.0, 0.02), runtime=ort),
        make_missing(
            Precision.FP16, ort, "Node 'conv1': FP16 Conv has no CPU kernel (NOT_IMPLEMENTED)", TrialStatus.FAILED
        ),
        make_missing(Precision.BF16, ort, "ONNX Runtime has no BF16 kernels on the CPU", TrialStatus.UNSUPPORTED),
        quantized(ort, 16.9, 0.33, 0.15, make_plan(int8, U8S8, chain, mse)),
        quantized(ort, 21.4, 1.24, 0.24, make_plan(int8, U8S8, chain, minmax)),
        make_trial(int8, runtime=ort, plan=make_plan(int8, S8S8, chain, mse), evidence=slow),
    )


def make_samples(trials: Sequence[Trial], calls: int = 400) -> dict[str, tuple[float, ...]]:
    rng = np.random.default_rng(7)
    samples = {}
    for trial in trials:
        if trial.evidence is None:
            continue
        p50 = trial.evidence.latency.p50.value
        noise = np.exp(rng.normal(0, 0.03, calls)) + np.where(rng.random(calls) < 0.04, rng.random(calls) * 0.4, 0)
        samples[trial.id] = tuple(float(x) for x in np.round(p50 * noise, 4))
    return samples


def make_record(trials: Sequence[Trial] | None = None, requirements: Requirements | None = None) -> StudyRecord:
    trials = tuple(trials or make_realistic_trials())
    requirements = requirements or make_requirements()
    return StudyRecord(
        schema=RECORD_SCHEMA,
        title="residual on Fashion-MNIST",
        created="2026-03-01T09:30:00Z",
        requirements=requirements,
        task="classification",
        trials=trials,
        decision=conclude(requirements, trials),
        model=ModelProvenance(
            file="residual.onnx",
            sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            opset=20,
            parameters=701_466,
            size_bytes=2_810_113,
            macs=84_934_656,
            inputs=("image float32 [batch, 1, 28, 28]",),
            outputs=("logits float32 [batch, 10]",),
        ),
        calibration=DataProvenance("calibration.npz", "sha256:5e884898da28047151d0e56f8dc62927", 1000),
        evaluation=DataProvenance("evaluation.npz", "sha256:2c26b46b68ffc68ff99b453c1d304134", 10_000),
        machine={
            "CPU": "An 8-core x86-64 CPU with avx512_vnni and avx512_bf16",
            "logical cores": "8",
            "memory": "24 GiB",
            "system": "Linux 6.8, glibc 2.39",
        },
        versions={"assay": "0.1.0", "onnxruntime": "1.31.1", "openvino": "2026.4.1", "python": "3.11.12"},
        batch=4,
        threads=1,
        latency_samples=make_samples(trials),
        seconds=math.floor(142.0),
        warnings=("The clock was unsteady: rounds differ by 6%, so that speed-ups under 1.06x mean nothing.",),
    )
