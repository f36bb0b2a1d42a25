from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest
from certificate_samples import CHOSEN, DEAD_CLASS, draw_picture, make_certified_record, make_flips

from assay.core.flip import Flip
from assay.report.flips import MOST_FLIPS, MOST_PICTURES_BYTES, is_png, pick_galleries, shorten
from assay.report.html import render_html
from assay.report.markdown import render_markdown
from assay.report.rows import list_rows
from assay.studies.record import StudyRecord

FULL = make_certified_record()
RECORD = replace(
    FULL,
    trials=tuple(t for t in FULL.trials if t.id in {CHOSEN, DEAD_CLASS}),
    decision=replace(FULL.decision, fallbacks=()),
    latency_samples={},
)
"""Few trials, so that pages are drawn fast."""
PICTURE = re.compile(r'<img src="data:image/png;base64,([^"]*)" alt="([^"]*)">')


def show(flips: dict[str, tuple[Flip, ...]]) -> StudyRecord:
    return replace(RECORD, flips=flips)


def test_the_chosen_one_and_the_best_rejected_one_are_shown() -> None:
    flips = {trial.id: make_flips(2) for trial in FULL.trials}
    galleries = pick_galleries(show(flips), list_rows(FULL))
    assert [gallery.row.trial.id for gallery in galleries] == [CHOSEN, DEAD_CLASS]


def test_pictures_have_words_for_those_who_do_not_see_them() -> None:
    pictures = PICTURE.findall(render_html(RECORD))
    assert len(pictures) == 13
    picture, words = pictures[0]
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    assert words == "item 137: right answer shirt; FP32 says shirt, the variant says T-shirt"


@pytest.mark.parametrize("picture", ['x" onerror="alert(1)', "AAAA", base64.b64encode(b"<svg>").decode(), "é"])
def test_what_is_no_picture_stays_out_of_the_page(picture: str) -> None:
    assert not is_png(picture)
    page = render_html(show({CHOSEN: (replace(make_flips(1)[0], picture=picture),)}))
    assert "<img" not in page
    assert "item 137" in page


def test_the_page_stays_small_however_much_broke() -> None:
    heavy = base64.b64encode(base64.b64decode(draw_picture(0)) + b"\0" * 60_000).decode()
    flips = tuple(replace(make_flips(1)[0], item=k, picture=heavy, text="word " * 5000) for k in range(500))
    page = render_html(show({CHOSEN: flips, DEAD_CLASS: flips}))
    assert sum(len(picture) for picture, _ in PICTURE.findall(page)) <= MOST_PICTURES_BYTES
    assert len(page) < 2_000_000
    assert f"The worst {MOST_FLIPS} of 500" in page
    assert page.count('<p class="turn">') == 2 * MOST_FLIPS


def test_texts_are_shown_cut_and_escaped() -> None:
    flip = replace(make_flips(1, pictures=False)[0], text="<b>bold</b>\n\n" + "word " * 100, before="<i>", harm=0.25)
    record = show({CHOSEN: (flip,)})
    page = render_html(record)
    assert "<blockquote>&lt;b&gt;bold&lt;/b&gt; word" in page
    assert "<i>" not in page
    assert "score worse by 0.250" in page
    assert "| \\<i\\> |" in render_markdown(record)


def test_a_flip_without_answer_or_certainty_says_neither() -> None:
    page = render_html(show({CHOSEN: (replace(make_flips(1)[0], target="", certainty=None),)}))
    gallery = page[page.index('<ol class="flips">') :]
    gallery = gallery[: gallery.index("</ol>")]
    assert "item 137" in gallery
    assert "right" not in gallery
    assert "sure" not in gallery


def test_without_flips_there_is_no_section() -> None:
    assert "<h2>What broke</h2>" not in render_html(show({}))
    assert "<h2>What broke</h2>" in render_html(RECORD)


@pytest.mark.parametrize(("text", "short"), [("a  b\nc", "a b c"), ("abcdef", "abcdef"), ("abcd efgh", "abcd…")])
def test_texts_are_cut_on_one_line(text: str, short: str) -> None:
    assert shorten(text, 6) == short
