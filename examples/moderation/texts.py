"""Labelled texts: mails that are spam or not, and news by their topics."""

import email
import email.policy
import re
import tarfile
from dataclasses import dataclass
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path

from reuters import TOPICS, read_sets

HAM, SPAM = ("easy-ham-1", "easy-ham-2", "hard-ham-1"), ("spam-1", "spam-2")
LONGEST = 4000
"""Characters of a text that are kept: more than any model here reads."""
ALIKE = 200
"""Texts whose first so many letters and digits are the same count as copies."""


@dataclass(frozen=True)
class Text:
    """A text and whether it has each of the labels."""

    words: str
    labels: tuple[int, ...]


class Reader(HTMLParser):
    """What a page shows, without its style sheets and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - the parser's signature
        """Enter what is not shown."""
        self._hidden += tag in {"style", "script"}

    def handle_endtag(self, tag: str) -> None:
        """Leave it."""
        self._hidden -= tag in {"style", "script"} and self._hidden > 0

    def handle_data(self, data: str) -> None:
        """Keep what is shown."""
        if not self._hidden:
            self.parts.append(data)


def read_mails(package: Path) -> list[Text]:
    """Subject and text of every mail, without copies; label 1 is spam. Other headers tell too much of the source."""
    found = []
    with tarfile.open(package) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            folder = Path(member.name).parent.name
            file = archive.extractfile(member) if folder in HAM + SPAM and member.name.endswith(".txt") else None
            if file is not None:
                message = email.message_from_bytes(file.read(), policy=email.policy.compat32)
                found.append(Text(f"{read_subject(message)}. {read_body(message)}"[:LONGEST], (int(folder in SPAM),)))
    return drop_copies(found)


def read_subject(message: Message) -> str:
    """The subject, decoded."""
    parts = email.header.decode_header(str(message.get("Subject", "")))
    return squeeze(" ".join(part if isinstance(part, str) else part.decode("latin-1") for part, _ in parts))


def read_body(message: Message) -> str:
    """The first part that has any text; of a page what it shows."""
    for part in message.walk():
        payload = part.get_payload(decode=True) if part.get_content_maintype() == "text" else None
        if not isinstance(payload, bytes):
            continue
        text = payload.decode("latin-1")
        if part.get_content_subtype() == "html" or re.search(r"<html|<body|<table", text[:3000], re.IGNORECASE):
            reader = Reader()
            reader.feed(text)
            text = " ".join(reader.parts)
        if text.strip():
            return squeeze(text)
    return ""


def read_news(package: Path) -> list[Text]:
    """News of 1987, each with whether it is about grain and about corn, without copies: training and test sets."""
    found: dict[str, list[int]] = {}
    for (_, topic), rows in read_sets(package).items():
        for words, label in rows:
            found.setdefault(words, [0] * len(TOPICS))[TOPICS.index(topic)] = label
    return drop_copies([Text(squeeze(words)[:LONGEST], tuple(labels)) for words, labels in found.items()])


def squeeze(text: str) -> str:
    """One space between words."""
    return re.sub(r"\s+", " ", text).strip()


def drop_copies(texts: list[Text]) -> list[Text]:
    """The first of those that begin alike, so that no evaluation item was seen in training."""
    kept: dict[str, Text] = {}
    for text in texts:
        kept.setdefault(re.sub(r"\W+", "", text.words.lower())[:ALIKE], text)
    kept.pop("", None)
    return list(kept.values())
