"""What differs between two calibration sets: items, descriptions, and the ranges that they give a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assay.core.calibration import Calibration
from assay.data.calibration_set import SetDescription, StoredSet, open_set
from assay.studies.progress import Progress
from assay.studies.statistics_files import list_held, load_statistics
from assay.studies.stored_sets import survey_set

NAMED_FIELDS = ("address", "items", "inputs", "target", "origin", "parts", "licence", "note", "created", "versions")


@dataclass(frozen=True, slots=True)
class TensorMove:
    """How far the observed range of a tensor differs between two sets.

    Attributes:
        first: minimum and maximum in the first set.
        second: minimum and maximum in the second.
        moved: the larger shift of an end, as a share of the wider range; 0 where both are equal.
    """

    tensor: str
    first: tuple[float, float]
    second: tuple[float, float]
    moved: float


@dataclass(frozen=True, slots=True)
class StatisticsDifference:
    """The ranges of one model over two sets, those that differ most first."""

    model: str
    runtime: str
    tensors: tuple[TensorMove, ...]


@dataclass(frozen=True, slots=True)
class SetDifference:
    """Two sets side by side.

    Attributes:
        fields: names of what their descriptions say differently.
        common: distinct items that both hold.
        only_first: positions of the items that only the first set holds.
        only_second: positions of the items that only the second set holds.
        statistics: of every model that both hold statistics of.
    """

    first: SetDescription
    second: SetDescription
    fields: tuple[str, ...]
    common: int
    only_first: tuple[int, ...]
    only_second: tuple[int, ...]
    statistics: tuple[StatisticsDifference, ...]


def compare_sets(first: Path, second: Path, progress: Progress) -> SetDifference:
    """Compare two sets, item by item.

    Raises:
        DataError: one of them is no set, or is damaged.
    """
    one, other = open_set(first), open_set(second)
    hashes, others = survey_set(one, progress), survey_set(other, progress)
    held, held_by_other = set(hashes), set(others)
    return SetDifference(
        first=one.description,
        second=other.description,
        fields=tuple(
            name for name in NAMED_FIELDS if getattr(one.description, name) != getattr(other.description, name)
        ),
        common=len(held & held_by_other),
        only_first=tuple(index for index, content in enumerate(hashes) if content not in held_by_other),
        only_second=tuple(index for index, content in enumerate(others) if content not in held),
        statistics=tuple(compare_statistics(one, other)),
    )


def compare_statistics(first: StoredSet, second: StoredSet) -> Iterator[StatisticsDifference]:
    """The ranges of every model that both sets hold statistics of.

    Raises:
        DataError: statistics are damaged, naming the file.
    """
    others = {held.observer: path for path, held in list_held(second.statistics_folder)}
    for path, held in list_held(first.statistics_folder):
        if held.observer in others:
            calibrations = load_statistics(path)[1], load_statistics(others[held.observer])[1]
            yield StatisticsDifference(held.model, held.runtime, rank_moves(*calibrations))


def rank_moves(first: Calibration, second: Calibration) -> tuple[TensorMove, ...]:
    """Tensors of two calibrations of one model, the one whose range differs most first."""
    moves = []
    for name, one in first.tensors.items():
        other = second.tensors[name]
        shift = max(abs(one.low - other.low), abs(one.high - other.high))
        width = max(one.high - one.low, other.high - other.low)
        # two constants that differ have no width to compare with: that is as far as a range can move
        moved = shift / width if width else float(shift > 0)
        moves.append(TensorMove(name, (one.low, one.high), (other.low, other.high), moved))
    return tuple(sorted(moves, key=lambda move: -move.moved))
