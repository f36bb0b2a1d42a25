"""An item that a variant gets wrong and the reference got right, shown to a person."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flip:
    """What broke, on one item.

    Attributes:
        item: index in the evaluation data.
        target: the right answer, in words; empty where there is none.
        before: what the reference says.
        after: what the variant says.
        harm: how much worse the item's score became, positive is worse.
        certainty: how sure the reference was, 0 to 1; None where it does not tell.
        picture: PNG of the item as base64, empty where it is no picture.
        text: the item as a text, empty where it is none.
    """

    item: int
    target: str
    before: str
    after: str
    harm: float
    certainty: float | None = None
    picture: str = ""
    text: str = ""
