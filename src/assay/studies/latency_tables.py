"""Times of groups that earlier studies measured on this machine, kept in the user's cache.

One file for each target: runtime with its version, kind of machine, device, threads, batch and mode. A file that is
damaged counts as empty, and one that cannot be written fails nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from assay.core.errors import StoreError
from assay.core.target import Target
from assay.measure.machine import describe_machine
from assay.studies.files import make_folder, store_errors, write_bytes
from assay.studies.progress import Progress

SCHEMA = 1
MOST_SAMPLES = 15
"""Of one entry; older ones go first."""
FOLDER = "latencies"


class LatencyTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file holds.

    Attributes:
        schema: version of this structure.
        target: what was measured on, in words.
        entries: what was measured -> milliseconds, the oldest first.
    """

    schema: int
    target: Mapping[str, str]
    entries: Mapping[str, tuple[float, ...]]


def find_cache() -> Path:
    """The folder of what Assay keeps for a user over studies: ``$ASSAY_CACHE``, else ``assay`` in the user's cache."""
    given, home = os.environ.get("ASSAY_CACHE", ""), os.environ.get("XDG_CACHE_HOME", "")
    if given:
        return Path(given)
    if Path(home).is_absolute():  # others are to be ignored, says the XDG Base Directory Specification
        return Path(home, "assay")
    try:
        return Path.home() / ".cache" / "assay"
    except RuntimeError:  # an account without a home
        return Path(tempfile.gettempdir(), "assay")


def describe_target(target: Target, versions: Mapping[str, str]) -> dict[str, str]:
    """All that times depend on beside what is measured.

    Args:
        target: of the deployment.
        versions: of the runtime and of Assay.
    """
    facts = {
        "machine": describe_machine().fingerprint,
        "runtime": target.runtime,
        "device": target.device,
        "threads": str(target.threads),
        "batch": str(target.batch),
        "mode": str(target.mode),
    }
    return facts | {f"version of {name}": version for name, version in sorted(versions.items())}


class LatencyFile:
    """The times that are known on one target.

    Args:
        facts: of ``describe_target``.
        progress: is told of a file that cannot be used.
        cache: folder of the cache; that of the user where None.
    """

    def __init__(self, facts: Mapping[str, str], progress: Progress, cache: Path | None = None) -> None:
        digest = hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()[:16]
        self._facts, self._progress = facts, progress
        self._path = (find_cache() if cache is None else cache) / FOLDER / f"{digest}.json"

    def find(self, keys: Iterable[str]) -> Mapping[str, float] | None:
        """Median of what is known under each key; None where one of them is not known."""
        entries = self._read()
        wanted = set(keys)
        if not wanted <= set(entries):
            return None
        return {key: statistics.median(entries[key]) for key in wanted}

    def add(self, measured: Mapping[str, Sequence[float]]) -> None:
        """Keep new measurements beside those that are there; what cannot be written is told and left."""
        try:
            folder = make_folder(self._path.parent)
            with store_errors(self._path, "lock"), (folder / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                entries = dict(self._read())
                for key, samples in measured.items():
                    entries[key] = (*entries.get(key, ()), *samples)[-MOST_SAMPLES:]
                table = LatencyTable(SCHEMA, self._facts, entries)
                write_bytes(self._path, msgspec.json.format(msgspec.json.encode(table), indent=1))
        except StoreError as error:
            self._progress.say(f"times of groups are not kept for later studies: {error}")

    def _read(self) -> Mapping[str, tuple[float, ...]]:
        """What the file holds; nothing where there is none, or it is damaged."""
        try:
            table = msgspec.json.decode(self._path.read_bytes(), type=LatencyTable)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            self._progress.say(f"times of groups from earlier studies are not used: {self._path}: {error}")
            return {}
        return {key: samples for key, samples in table.entries.items() if samples} if table.schema == SCHEMA else {}
