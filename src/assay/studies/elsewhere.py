"""The runtimes of a study: those that run here, those that are missing, and those that build for devices elsewhere.

What is built for a device that is not here is kept and told of, and not measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from assay.backends.backend import Availability, Backend
from assay.backends.table import load_backend
from assay.core.errors import BackendUnavailable, RequestError


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A runtime and a device that it builds for.

    Attributes:
        runtime: its name.
        backend: its adapter.
        device: as the runtime names it, such as ``sm86``.
        reason: why nothing is measured.
    """

    runtime: str
    backend: Backend
    device: str
    reason: str

    @property
    def sentence(self) -> str:
        """For the reader of a report."""
        return f"{self.runtime} for {self.device} is built and not measured: {self.reason}"


@dataclass(frozen=True, slots=True)
class Runtimes:
    """What became of the runtimes that are asked for.

    Attributes:
        here: those that are available, by name, in the order of the request.
        missing: runtime -> why it can neither run here nor build for elsewhere.
        elsewhere: what is built for devices that are not here.
    """

    here: Mapping[str, Backend]
    missing: Mapping[str, str]
    elsewhere: tuple[Elsewhere, ...] = ()

    @property
    def tools(self) -> Mapping[str, Backend]:
        """Everything that shapes artifacts."""
        return {**self.here, **{one.runtime: one.backend for one in self.elsewhere}}


def find_runtimes(names: Sequence[str], devices: Sequence[str]) -> Runtimes:
    """What becomes of the runtimes that are asked for.

    A runtime that can run nothing here builds for its usual device, where none of those that are named is its own.

    Args:
        names: of the runtimes.
        devices: that are not here, to build for.

    Raises:
        RequestError: no runtime builds for a device that is named.
        BackendUnavailable: none runs here.
    """
    here: dict[str, Backend] = {}
    missing: dict[str, str] = {}
    builds: dict[str, None] = {}
    elsewhere: list[Elsewhere] = []
    for name in names:
        try:
            backend = load_backend(name)
        except BackendUnavailable as error:
            missing[name] = f"{error.message}; {error.hint}"
            continue
        found = backend.probe()
        own = tuple(_list_own(name, backend, found, devices))
        builds |= dict.fromkeys(found.builds)
        elsewhere += own
        if found.available:
            here[name] = backend
        elif not own:
            missing[name] = f"{found.missing}; {found.remedy}"
    _check_devices(devices, tuple(builds))
    if not here:
        told = {**missing, **{one.runtime: one.reason for one in elsewhere}}
        reasons = "; ".join(f"{name}: {reason}" for name, reason in told.items())
        raise BackendUnavailable(f"no runtime is available: {reasons}", "see `assay doctor`")
    return Runtimes(here, missing, tuple(elsewhere))


def _list_own(name: str, backend: Backend, found: Availability, devices: Sequence[str]) -> Iterator[Elsewhere]:
    """What one runtime builds for devices that are not here."""
    named = tuple(device for device in devices if device in found.builds)
    usual = () if found.available else found.builds[:1]
    for device in named or usual:
        yield Elsewhere(name, backend, device, f"no {device} is here" if found.available else found.missing)


def _check_devices(devices: Sequence[str], builds: Sequence[str]) -> None:
    """Refuse devices that nobody builds for.

    Raises:
        RequestError: naming the device.
    """
    lost = next((device for device in devices if device not in builds), None)
    if lost is not None:
        known = ", ".join(builds) or "none"
        raise RequestError(f"no runtime that is asked for builds for {lost!r}", f"they build for {known}")
