"""News as headlines and bodies, and questions made of them: which body belongs to a headline?"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from reuters import read_sets
from sklearn.feature_extraction.text import TfidfVectorizer

LEAD = 40
"""Words of a body that are kept: where a newspaper article says what it is about."""
HEADLINE = range(3, 21)
"""Words that a headline may have."""
LEAST_BODY = 20
ALIKE = 200
"""Bodies whose first so many letters and digits are the same count as copies."""
TOLD = re.compile(r"\b(said|says)\b")
"""What a report has and a table of figures lacks, whose body names neither the company nor the matter."""


@dataclass(frozen=True)
class News:
    """A headline and the beginning of what stands below it."""

    headline: str
    lead: str


@dataclass(frozen=True)
class Question:
    """A headline, bodies, and which of these is its own."""

    headline: str
    candidates: tuple[str, ...]
    own: int


def read_news(package: Path) -> list[News]:
    """Reports of 1987 from all sets of the package, in their order, without copies and repeated headlines."""
    texts = [text for rows in read_sets(package).values() for text, _ in rows]
    found: dict[str, News] = {}
    headlines: set[str] = set()
    for text in texts:
        headline, body = divide(text)
        key = re.sub(r"\W+", "", body.lower())[:ALIKE]
        usual = len(headline.split()) in HEADLINE and len(body.split()) >= LEAST_BODY and TOLD.search(body)
        if usual and key not in found and headline not in headlines:
            headlines.add(headline)
            found[key] = News(headline, " ".join(body.split()[:LEAD]))
    return list(found.values())


def divide(text: str) -> tuple[str, str]:
    """Headline and body: a headline is in capitals, and ends at the first word with a small letter."""
    plain = re.sub(r"\s+reuters?\s*$", "", html.unescape(text.replace("&#3;", " ")), flags=re.IGNORECASE)
    words = plain.split()
    end = next((place for place, word in enumerate(words) if re.search("[a-z]", word)), len(words))
    end -= end > 0 and words[end - 1] == "A"  # the article that a body begins with
    return " ".join(words[:end]), " ".join(words[end:])


def ask(news: Sequence[News], others: int, rng: np.random.Generator) -> list[Question]:
    """A question for every headline: its own body among those that share most words with the headline.

    Args:
        news: to ask about, and to take the other candidates from.
        others: candidates beside the own body.
        rng: where the own body stands among them.
    """
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    leads = vectorizer.fit_transform([one.lead for one in news])
    shared = (vectorizer.transform([one.headline for one in news]) @ leads.T).toarray()
    np.fill_diagonal(shared, -1)
    nearest = np.argsort(-shared, axis=1, kind="stable")[:, :others]
    questions = []
    for place, one in enumerate(news):
        own = int(rng.integers(others + 1))
        candidates = [news[other].lead for other in nearest[place]]
        questions.append(Question(one.headline, (*candidates[:own], one.lead, *candidates[own:]), own))
    return questions
