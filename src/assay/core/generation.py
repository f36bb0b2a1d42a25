"""What a user of a language model waits for: the first token, and each one after it."""

from __future__ import annotations

from dataclasses import dataclass

from assay.core.errors import RequestError
from assay.core.estimate import Estimate

DEFAULT_CONTEXT = 128
DEFAULT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class GenerationPlan:
    """At which contexts and batches generation is measured.

    Attributes:
        contexts: tokens that stand before those that are generated, rising; the first one is the context that latency
            and throughput of the study are about.
        batches: texts generated side by side, rising; the study's own batch where empty.
        seconds: of the rounds at all of these together; each is measured in a few rounds at least.

    Raises:
        RequestError: a number is not positive, repeats or falls.
    """

    contexts: tuple[int, ...] = (DEFAULT_CONTEXT,)
    batches: tuple[int, ...] = ()
    seconds: float = DEFAULT_SECONDS

    @property
    def context(self) -> int:
        """The context that latency and throughput of the study are about."""
        return self.contexts[0]

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if not self.contexts:
            raise RequestError("generation.contexts is empty", "give one or more, such as [128, 1024]")
        for key, values in (("contexts", self.contexts), ("batches", self.batches)):
            if any(value < 1 for value in values) or list(values) != sorted(set(values)):
                raise RequestError(f"generation.{key} is {list(values)}", "give rising numbers of 1 or more")
        if not self.seconds > 0:
            raise RequestError(f"generation.seconds is {self.seconds}", "give a number of seconds")


@dataclass(frozen=True, slots=True)
class Generation:
    """What generating costs at one context and batch.

    Attributes:
        context: tokens of each text before the one that is generated.
        batch: texts side by side.
        first_token: milliseconds from a whole prompt of ``context`` tokens to the logits of the first new token, one
            call.
        prefill: tokens of the prompts per second.
        step: milliseconds of one further token of each text, with the context in the cache; None without a cache.
        decode: tokens generated per second, over all texts; None without a cache.
        gain: how many times faster a step is than that of FP32 on the same runtime, paired by round; None for FP32
            itself, where that was not measured, and without a cache.
        cache_bytes: what keys and values of the context take.
        peak_memory_bytes: highest resident set of a process that ran this, runtime included.
    """

    context: int
    batch: int
    first_token: Estimate
    prefill: Estimate
    step: Estimate | None
    decode: Estimate | None
    gain: Estimate | None
    cache_bytes: int
    peak_memory_bytes: int
