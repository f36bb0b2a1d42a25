"""The report of a fixed study, compared with what is kept; ASSAY_UPDATE_GOLDEN=1 keeps the present one.

Charts are reduced to their texts and styles are left out: pixels belong to the plotting library's version.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from certificate_samples import make_certified_record
from explanation_samples import make_explanation
from trial_samples import make_record

from assay.report.card import render_card
from assay.report.document import encode_document
from assay.report.html import render_html
from assay.report.markdown import render_markdown

FOLDER = Path(__file__).parent / "report"


def reduce_chart(match: re.Match[str]) -> str:
    named = re.findall(r"<(?:title|desc)\b[^>]*>([^<]*)</", match[0])
    texts = sorted(text.strip() for text in re.findall(r"<text\b[^>]*>([^<]*)</", match[0]))
    return "\n".join(["[chart", *named, "  " + " | ".join(texts), "]"])


def normalise(page: str) -> str:
    page = re.sub(r"<style>.*?</style>", "<style/>", page, flags=re.DOTALL)
    page = re.sub(r"<svg .*?</svg>", reduce_chart, page, flags=re.DOTALL)
    page = re.sub(r"(?<=data:image/png;base64,)[^\"]*", "...", page)
    return re.sub(r"\n\s*\n+", "\n", page)


def render_certified_card() -> str:
    record = make_certified_record()
    trials = {trial.id: trial for trial in record.trials}
    assert record.decision.chosen is not None
    return render_card(record, tuple(trials[name] for name in (record.decision.chosen, *record.decision.fallbacks)))


RENDERERS = {
    "report.html": lambda: normalise(render_html(make_record(), [make_explanation()])),
    "report.md": lambda: render_markdown(make_record(), [make_explanation()]),
    "report.json": lambda: encode_document(make_record(), [make_explanation()]).decode(),
    "certified.html": lambda: normalise(render_html(make_certified_record())),
    "certified.md": lambda: render_markdown(make_certified_record()),
    "certified.json": lambda: encode_document(make_certified_record()).decode(),
    "certified-card.md": render_certified_card,
}


@pytest.mark.parametrize("name", RENDERERS)
def test_report_is_as_kept(name: str) -> None:
    path = FOLDER / name
    present = RENDERERS[name]()
    if os.environ.get("ASSAY_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(present, encoding="utf-8")
    assert present == path.read_text(encoding="utf-8")
