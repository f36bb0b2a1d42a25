"""Reuters-21578 as the package of Weka holds it: news of 1987, in one file for each topic and part."""

import re
from collections.abc import Iterator
from pathlib import Path

from archives import read_members

FOLDER = "usr/share/doc/weka/examples/"
PARTS, TOPICS = ("train", "test"), ("Grain", "Corn")


def read_sets(package: Path) -> dict[tuple[str, str], list[tuple[str, int]]]:
    """Return the sets by part and topic, ``train`` first: text of every news, and whether it is about the topic."""
    members = dict(read_members(package, f"{FOLDER}Reuters"))
    return {
        (part, topic): list(read_arff(members[f"{FOLDER}Reuters{topic}-{part}.arff"].decode("latin-1")))
        for part in PARTS
        for topic in TOPICS
    }


def read_arff(text: str) -> Iterator[tuple[str, int]]:
    """Text and class of every row."""
    for match in re.finditer(r"'((?:[^'\\]|\\.)*)'\s*,\s*([01])", text.split("@data", 1)[1], re.DOTALL):
        words = match[1].replace("\\n", " ").replace("\\t", " ")
        yield re.sub(r"\\(.)", r"\1", words), int(match[2])
