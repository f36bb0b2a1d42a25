"""MovieLens-100k as queries: who watched what before, and the candidates among which the next film is."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
MEMBER = "recbole/dataset_example/ml-100k/ml-100k.inter"
HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
HISTORY = 20
"""Films before a query that the model sees; 0 fills up."""
NEGATIVES = 99
HELD_OUT = 10
"""Last films of each user that are kept for the evaluation, one query each."""
CALIBRATED = 2
"""Films before these that calibration queries are made of, one each; they are trained on, too."""


@dataclass(frozen=True)
class Interactions:
    """All films of every user in the order of time.

    Attributes:
        films: user -> ``[films of the user] int64``.
        users: highest user id.
        items: highest film id.
    """

    films: dict[int, Ints]
    users: int
    items: int


@dataclass(frozen=True)
class Queries:
    """What the model is asked.

    Attributes:
        user: ``[n] int64``.
        history: ``[n, 20] int64``, the latest film last, filled up with 0 in front.
        film: ``[n] int64``, the film that was watched next.
    """

    user: Ints
    history: Ints
    film: Ints

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.user)


def read_interactions(wheel: Path) -> Interactions:
    """Read the ratings inside the package; that a film was rated is what counts, not how.

    Of films rated in the same second, the order in the file decides.
    """
    with zipfile.ZipFile(wheel) as archive:
        header, *lines = archive.read(MEMBER).decode("utf-8").splitlines()
    if header != HEADER:
        raise SystemExit(f"{MEMBER} begins with {header!r}, expected {HEADER!r}")
    table = np.array([line.split("\t") for line in lines], dtype=np.float64).astype(np.int64)
    table = table[np.argsort(table[:, 3], kind="stable")]
    films = {int(user): table[table[:, 0] == user, 1] for user in np.unique(table[:, 0])}
    return Interactions(films, users=int(table[:, 0].max()), items=int(table[:, 1].max()))


def make_queries(interactions: Interactions, first: int, last: int) -> Queries:
    """Make a query of each film of every user from place ``first`` up to ``last``, counted from the end where negative.

    The first film of a user is none: nothing was watched before.
    """
    users, histories, films = [], [], []
    for user, watched in interactions.films.items():
        begin = max(1, first if first >= 0 else len(watched) + first)
        end = len(watched) + last if last <= 0 else last
        for place in range(begin, end):
            before = watched[max(0, place - HISTORY) : place]
            users.append(user)
            histories.append(np.pad(before, (HISTORY - len(before), 0)))
            films.append(watched[place])
    return Queries(np.array(users), np.stack(histories), np.array(films))


def add_candidates(
    interactions: Interactions, queries: Queries, rng: np.random.Generator
) -> tuple[Ints, NDArray[np.int8]]:
    """Candidates ``[n, 100] int64``, shuffled, and relevances ``[n, 100] int8``: 1 for the film, 0 for the others.

    The others are drawn from the films that the user never rated.
    """
    every = np.arange(1, interactions.items + 1)
    unseen = {user: np.setdiff1d(every, films) for user, films in interactions.films.items()}
    candidates = np.stack(
        [
            rng.permutation(np.append(rng.choice(unseen[int(user)], NEGATIVES, replace=False), film))
            for user, film in zip(queries.user, queries.film, strict=True)
        ]
    )
    return candidates, (candidates == queries.film[:, None]).astype(np.int8)
