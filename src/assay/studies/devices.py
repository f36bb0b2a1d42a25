"""Device profiles: a file of a small device's limits, which a study is held to."""

from __future__ import annotations

import platform
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from assay.core.errors import RequestError
from assay.core.requirements import Bounded, Constraint
from assay.studies.config import StudyFile

FORM = 'write for example name = "one-thread board", threads = 1, memory = "256MiB", fps = 30'
ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
"""Other names of the same."""


class DeviceProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device profile.

    Attributes:
        name: of the device, for the report.
        note: where the numbers are from.
        architecture: of its processor; a study on another one is refused.
        runtimes: that run on it, in order of preference.
        precisions: formats that it may be given.
        threads: that the model may use.
        memory: that its process may take, such as ``256MiB``, runtime included.
        size: of the artifact's files.
        fps: frames a second that it must keep, one after another.
        watts: mean power while frames run.
        constraints: further ones, in the words of a study file.
        price_per_hour: of the device, in your currency.
    """

    name: str
    note: str = ""
    architecture: str | None = None
    runtimes: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None
    threads: int | None = None
    memory: str | None = None
    size: str | None = None
    fps: float | None = None
    watts: float | None = None
    constraints: tuple[str, ...] = ()
    price_per_hour: float | None = None


def read_device(path: Path) -> DeviceProfile:
    """Read a device profile.

    Raises:
        RequestError: it is missing, not TOML, or has a wrong key or value, or another architecture than this machine.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"cannot read the device profile {path}: {error.strerror}", FORM) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"{path} is not valid TOML: {error}", FORM) from error
    try:
        profile = msgspec.convert(content, DeviceProfile, strict=True)
    except msgspec.ValidationError as error:
        unknown = re.search(r"unknown field `(?P<key>[^`]*)`", str(error))
        known = ", ".join(field.name for field in msgspec.structs.fields(DeviceProfile))
        text = f"key {unknown['key']!r} is unknown" if unknown else str(error).replace("Object", "the profile", 1)
        raise RequestError(f"{path}: {text}", f"keys of a device profile are {known}") from error
    if not profile.name.strip():
        raise RequestError(f"{path}: the device has no name", FORM)
    check_architecture(profile, path)
    return profile


def check_architecture(profile: DeviceProfile, path: Path) -> None:
    """Refuse to measure on another processor than the device's.

    Raises:
        RequestError: naming both.
    """
    if profile.architecture is None:
        return
    here, there = (ARCHITECTURES.get(one.lower(), one.lower()) for one in (platform.machine(), profile.architecture))
    if here != there:
        message = f"{path} is of a device with {profile.architecture}, and this machine is {platform.machine()}"
        raise RequestError(message, "run the study on the device: rates and formats of another processor tell nothing")


def apply_device(keys: StudyFile) -> StudyFile:
    """The keys of a call, with those of its device profile where they say nothing; a bound of theirs stands.

    Raises:
        RequestError: the profile is wrong, or a constraint cannot be read.
    """
    if keys.device is None:
        return keys
    profile = read_device(Path(keys.device))
    bounded = {Constraint.parse(text).quantity for text in keys.constraints or ()}
    added = tuple(text for text in list_constraints(profile) if Constraint.parse(text).quantity not in bounded)
    priced = keys.price_per_hour is not None or keys.prices is not None
    given = {
        "runtimes": profile.runtimes,
        "precisions": profile.precisions,
        "threads": profile.threads,
        "price_per_hour": None if priced else profile.price_per_hour,
    }
    missing = {name: value for name, value in given.items() if getattr(keys, name) is None and value is not None}
    return msgspec.structs.replace(keys, constraints=(*(keys.constraints or ()), *added), **missing)


def list_constraints(profile: DeviceProfile) -> Iterator[str]:
    """The profile's limits in the words of a study file."""
    if profile.memory is not None:
        yield f"{Bounded.MEMORY} <= {profile.memory}"
    if profile.size is not None:
        yield f"{Bounded.SIZE} <= {profile.size}"
    if profile.fps is not None:
        yield f"{Bounded.FPS} >= {profile.fps:g}"
    if profile.watts is not None:
        yield f"{Bounded.WATTS} <= {profile.watts:g} W"
    yield from profile.constraints


def describe_device(profile: DeviceProfile) -> str:
    """A profile in one line."""
    limits = ", ".join(list_constraints(profile))
    return f"{profile.name} ({limits})" if limits else profile.name
