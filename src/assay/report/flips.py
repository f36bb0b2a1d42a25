"""What broke, item by item: which flips a report shows, and how."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from assay.core.certificate import CertificateStatus
from assay.core.flip import Flip
from assay.decide import words
from assay.report.rows import Row, Standing
from assay.report.slices import judge
from assay.studies.record import StudyRecord

MOST_FLIPS = 24
"""Flips of one trial on a page."""
MOST_GALLERIES = 2
MOST_PICTURES_BYTES = 1_000_000
"""All pictures of a page together, as base64."""
MOST_TEXT = 280
"""Characters of an item's text on a page."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class ShownFlip:
    """One flip as a card.

    Attributes:
        picture: base64 of a PNG, empty where there is none or no room for it.
        text: cut to what a card holds.
        certainty: how sure FP32 was, in words; empty where it does not tell.
        harm: what the item's score lost.
    """

    item: int
    target: str
    before: str
    after: str
    picture: str
    text: str
    certainty: str
    harm: str

    @property
    def remark(self) -> str:
        """How sure FP32 was, and what the score lost where that is not one item right or wrong."""
        return "; ".join(part for part in (self.certainty, self.harm) if part)

    @property
    def words(self) -> str:
        """The flip as one sentence, for those who do not see the picture."""
        right = f"right answer {self.target}; " if self.target else ""
        return f"item {self.item}: {right}FP32 says {self.before}, the variant says {self.after}"


@dataclass(frozen=True, slots=True)
class Gallery:
    """What broke in one trial, the worst first.

    Attributes:
        total: flips in the record, of which some are shown.
    """

    row: Row
    flips: tuple[ShownFlip, ...]
    total: int

    @property
    def has_pictures(self) -> bool:
        """At least one item is a picture."""
        return any(flip.picture for flip in self.flips)


def pick_galleries(record: StudyRecord, rows: Sequence[Row]) -> tuple[Gallery, ...]:
    """The chosen trial, or the best so far, and the best of those that were rejected."""
    known = [row for row in rows if record.flips.get(row.trial.id)]
    leading = [row for row in known if row.standing in {Standing.CHOSEN, Standing.BEST}]
    rejected = [row for row in known if row not in leading and is_rejected(row)]
    room = MOST_PICTURES_BYTES
    galleries = []
    for row in (*leading[:1], *rejected[:1])[:MOST_GALLERIES]:
        flips = record.flips[row.trial.id]
        shown = []
        for flip in flips[:MOST_FLIPS]:
            picture = flip.picture if len(flip.picture) <= room and is_png(flip.picture) else ""
            room -= len(picture)
            shown.append(_show(flip, picture))
        galleries.append(Gallery(row, tuple(shown), len(flips)))
    return tuple(galleries)


def is_rejected(row: Row) -> bool:
    """It was proven to lose too much, as a whole or in a part of the items, or misses a requirement."""
    certificate = row.trial.evidence.certificate if row.trial.evidence else None
    worse = certificate is not None and judge(certificate).status is CertificateStatus.WORSE
    return worse or row.standing is Standing.FAILS


def is_png(picture: str) -> bool:
    """Base64 that starts as a PNG does; everything else stays out of the page."""
    try:
        return base64.b64decode(picture, validate=True).startswith(PNG_SIGNATURE)
    except (binascii.Error, ValueError):
        return False


def shorten(text: str, most: int = MOST_TEXT) -> str:
    """A text on one line, cut to a length, with an ellipsis where something was cut."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def _show(flip: Flip, picture: str) -> ShownFlip:
    """One card."""
    return ShownFlip(
        item=flip.item,
        target=shorten(flip.target, 60),
        before=shorten(flip.before, 60),
        after=shorten(flip.after, 60),
        picture=picture,
        text=shorten(flip.text),
        certainty="" if flip.certainty is None else f"FP32 was {flip.certainty * 100:.0f}% sure",
        harm="" if flip.harm == 1 else f"score worse by {words.format_significant(flip.harm)}",
    )
