"""The section on where the loss comes from: what is told, in which order, and how it is drawn."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from xml.etree import ElementTree as ET

import msgspec
import numpy as np
import pytest
from explanation_samples import EDGES, LOSSES, NAMES, TRIAL, make_explanation, make_group, make_mixed_plan
from rich.console import Console
from trial_samples import make_quality, make_realistic_trials, make_record, make_trial

from assay.core.explanation import Explanation
from assay.core.fault import Fault, FaultKind
from assay.core.precision import Precision
from assay.core.sensitivity import Damage
from assay.core.trial import Trial
from assay.report.blames import Explained, list_explained, write_share
from assay.report.charts.canvas import Chart
from assay.report.charts.groups import draw_groups, fit_name, round_corners, shorten_names
from assay.report.console import print_study
from assay.report.document import ShowDocument, encode_document, show_document
from assay.report.html import render_html
from assay.report.markdown import render_markdown
from assay.report.rows import list_rows
from assay.studies.record import StudyRecord

MIXED = make_trial(Precision.INT8, 5.0, make_quality(0.1, 0.1), plan=make_mixed_plan())
RECORD = make_record([*make_realistic_trials(), MIXED])
EXPLANATION = make_explanation()
LONG = tuple(f"/model/stage{i // 10}/block{i}/conv/Conv" for i in range(90))
LONG_EDGES = tuple(sorted([(i, i + 1) for i in range(89)] + [(i, i + 3) for i in range(0, 80, 4)]))


def explain(record: StudyRecord = RECORD, *explanations: Explanation) -> tuple[Explained, ...]:
    return list_explained(list_rows(record), explanations or (EXPLANATION,))


def read(svg: str, tag: str = "text") -> list[str]:
    return [(element.text or "").strip() for element in ET.fromstring(svg).iter(tag)]  # noqa: S314 - ours


def draw(one: Explained) -> Chart:
    return draw_groups(one, "groups-1")


def test_the_guilty_are_told_the_worst_first_with_all_that_is_known() -> None:
    (one,) = explain()
    worst = one.rows[0]
    assert (worst.rank, worst.name, worst.operators, worst.share) == (1, "layer1/conv2", "Conv + Add + Relu", "52%")
    assert (worst.alone, worst.so_far, worst.kept) == ("22.8 dB", "23.2 dB", "22.4 dB")
    assert (worst.tensor, worst.values, worst.limits) == ("layer1/conv2.input", "-2 to 9.5", "-1.5 to 6.25")
    assert (worst.clipped, worst.outlying, worst.format) == ("1.23%", "6.2%", "BF16")
    assert [row.rank for row in one.rows] == [1, 2]
    assert one.measure == "loss"
    assert "All 9 quantized groups" in one.sentence
    assert "2 groups cause 83% of the loss" in one.sentence


def test_where_the_task_tells_no_loss_shares_are_of_the_noise() -> None:
    found = EXPLANATION.sensitivities
    groups = tuple(
        replace(g, alone=Damage(g.alone.noise, None), cumulative=Damage(g.cumulative.noise, None)) for g in found.groups
    )
    (one,) = explain(RECORD, replace(EXPLANATION, sensitivities=replace(found, groups=groups)))
    assert one.measure == "noise"
    assert "of the noise" in one.sentence
    assert any("of the noise" in text for text in read(draw(one).wide))


def test_the_chosen_one_comes_first_and_trials_that_are_gone_are_left_out() -> None:
    others = [row.trial.id for row in list_rows(RECORD) if row.trial.candidate.plan.scheme is not None]
    explained = explain(RECORD, *(replace(EXPLANATION, trial=name) for name in ("gone.int8", *others)))
    named = [one.row.trial.id for one in explained]
    assert named[0] == RECORD.decision.chosen
    assert named[1:] == [name for name in others if name != RECORD.decision.chosen]


@pytest.mark.parametrize("chosen", [True, False])
def test_the_formats_of_a_mixed_trial_are_marked(chosen: bool) -> None:  # noqa: FBT001 - a parameter
    decision = replace(RECORD.decision, chosen=MIXED.id) if chosen else RECORD.decision
    (one,) = explain(replace(RECORD, decision=decision))
    assert one.marked is not None
    assert one.marked.trial.id == MIXED.id
    kept = [name for name, precision in zip(NAMES, one.formats, strict=True) if precision is Precision.BF16]
    assert kept == ["layer1/conv2", "head/fc"]
    for svg in (draw(one).wide, draw(one).narrow):
        assert read(svg).count("BF16") == 2
        assert read(svg).count("INT8") == 7


def test_the_chosen_mixed_trial_is_marked_before_a_faster_one() -> None:
    faster = make_trial(Precision.INT8, 2.0, make_quality(0.1, 0.1), plan=make_mixed_plan(("stem/conv",)))
    record = make_record([*make_realistic_trials(), MIXED, faster])
    (one,) = explain(replace(record, decision=replace(record.decision, chosen=MIXED.id)))
    assert one.marked is not None
    assert one.marked.trial.id == MIXED.id
    (one,) = explain(replace(record, decision=replace(record.decision, chosen=None, best=None)))
    assert one.marked is not None
    assert one.marked.trial.id == faster.id


def test_nothing_is_marked_where_no_plan_of_the_scheme_is_mixed() -> None:
    (one,) = explain(make_record())
    assert one.marked is None
    assert one.formats == ()
    assert not {"INT8", "BF16", "FP32"} & set(read(draw(one).wide))
    (other,) = explain(RECORD, replace(EXPLANATION, trial="onnxruntime.int8-u8s8-chain-mse"))
    assert other.marked is None


def test_every_group_has_a_box_with_its_name_share_and_tip() -> None:
    (one,) = explain()
    for svg in (draw(one).wide, draw(one).narrow):
        tips = read(svg, "title")[1:]
        assert [tip.partition(";")[0] for tip in tips] == list(NAMES)
        worst = "layer1/conv2; Conv + Add + Relu; rank 1, 52% of the loss; alone 22.8 dB, loss 0.052; BF16 in INT8"
        assert tips[2].startswith(worst)
        assert {"52%", "31%", "1", "2"} <= set(read(svg))
    assert "layer1/conv2" in read(draw(one).wide)


def test_what_the_plan_itself_keeps_is_drawn_without_a_share() -> None:
    kept = replace(make_group("layer2/conv1"), quantized=())
    graph = replace(
        EXPLANATION.graph, groups=tuple(kept if g.name == kept.name else g for g in EXPLANATION.graph.groups)
    )
    blames = tuple(blame for blame in EXPLANATION.blames if blame.sensitivity.group.name != kept.name)
    (one,) = explain(RECORD, replace(EXPLANATION, graph=graph, blames=blames, trial=MIXED.id))
    assert one.sentence.count("1 kept in floats") == 1
    assert any("layer2/conv1; Conv + Relu; kept in floats" in tip for tip in read(draw(one).wide, "title"))
    assert "stroke-dasharray" in draw(one).wide
    assert "stroke-dasharray" not in draw(explain()[0]).wide


def read_boxes(svg: str) -> np.ndarray:
    """Left and top of the areas that tell something."""
    paths = [
        group.find("path")
        for group in ET.fromstring(svg).iter("g")  # noqa: S314 - ours
        if group.find("title") is not None
    ]
    return np.array(
        [[float(n) for n in re.findall(r"-?[\d.]+", path.get("d", ""))[:6]] for path in paths if path is not None]
    )


def test_a_long_model_is_wrapped_and_stays_on_the_sheet() -> None:
    losses = tuple(0.001 + 0.01 * (i % 7 == 0) for i in range(90))
    (one,) = explain(RECORD, make_explanation(LONG, LONG_EDGES, losses))
    for svg, width in ((draw(one).wide, 960), (draw(one).narrow, 360)):
        _, _, right, bottom = (float(n) for n in re.findall(r'viewBox="([^"]*)"', svg)[0].split())
        boxes = read_boxes(svg)
        assert right == width
        assert len(boxes) == 90
        assert boxes.min() >= 0
        assert boxes[:, [0, 2, 4]].max() <= width
        assert boxes[:, [1, 3, 5]].max() <= bottom
        assert len({round(y) for y in boxes[:, 1]}) >= 90 / 8
        assert bottom < 40 * 90


def test_a_model_of_one_group_is_drawn() -> None:
    (one,) = explain(RECORD, make_explanation(("only",), (), (0.1,)))
    assert "The one quantized group leaves" in one.sentence
    assert "only" in read(draw(one).wide)


def test_groups_that_cost_nothing_have_no_ranks() -> None:
    quiet = make_explanation(NAMES, EDGES, (0.0,) * len(LOSSES))
    (one,) = explain(RECORD, quiet)
    assert one.rows == ()
    assert "none of them stands out" in one.sentence
    assert "no noise" in one.sentence
    assert read(draw(one).wide).count("0%") == len(NAMES)
    for text in (render_html(RECORD, [quiet]), render_markdown(RECORD, [quiet])):
        assert "Where the loss comes from" in text


def test_many_guilty_are_told_by_name_up_to_a_number() -> None:
    losses = tuple(0.02 if i % 4 == 0 else 0.0001 for i in range(90))
    (one,) = explain(RECORD, make_explanation(LONG, LONG_EDGES, losses))
    assert len(one.rows) < len(one.guilty)
    assert one.rest.startswith(f"{len(one.guilty) - len(one.rows)} more guilty groups")
    for text in (render_html(RECORD, [one.explanation]), render_markdown(RECORD, [one.explanation])):
        assert "more guilty groups" in text


def test_the_page_and_the_text_tell_the_same() -> None:
    page, text = render_html(RECORD, [EXPLANATION]), render_markdown(RECORD, [EXPLANATION])
    for told in (page, text):
        for word in ("Where the loss comes from", "layer1/conv2", "layer3/conv2", "22.4 dB", "-1.5 to 6.25", "6.2%"):
            assert word in told
        assert "another range method" in told
        assert "keep it in FP32 or BF16" in told
    assert "Where the loss comes from" not in render_html(RECORD) + render_markdown(RECORD)


def test_names_that_look_like_markup_stay_text() -> None:
    names = ('<b>"x"</b>', "a|b & c", *NAMES[2:])
    bad = make_explanation(names, EDGES, (0.2, 0.3, *LOSSES[2:]))
    page, text = render_html(RECORD, [bad]), render_markdown(RECORD, [bad])
    assert "<b>" not in page
    assert "a\\|b" in text
    assert names[0] in {tip.partition(";")[0] for tip in read(draw(explain(RECORD, bad)[0]).wide, "title")}


def test_several_explanations_have_charts_of_their_own() -> None:
    page = render_html(RECORD, [EXPLANATION, replace(EXPLANATION, trial="onnxruntime.int8-u8s8-chain-mse")])
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert page.count('id="groups-') == 2 * 2 * 2


def test_the_document_has_the_explanations_and_their_graph() -> None:
    document = msgspec.json.decode(encode_document(RECORD, [EXPLANATION, replace(EXPLANATION, trial="gone.int8")]))
    (one,) = document["explanations"]
    assert one["trial"] == TRIAL
    assert one["groups"][0]["group"] == "layer1/conv2"
    assert one["graph"]["groups"] == list(NAMES)
    assert one["graph"]["edges"] == [list(edge) for edge in EDGES]
    assert one["graph"]["kept"] == []
    assert msgspec.json.decode(encode_document(RECORD))["explanations"] == []


def test_numbers_that_are_not_finite_are_null() -> None:
    broken = replace(EXPLANATION.sensitivities, together=Damage(float("inf"), None))
    document = msgspec.json.decode(encode_document(RECORD, [replace(EXPLANATION, sensitivities=broken)]))
    assert document["explanations"][0]["together"] == {"noise": None, "sqnr_db": None, "loss": None}


def test_faults_are_in_the_document() -> None:
    fault = Fault(FaultKind.ALL_ZERO, "boxes", 2, (4, 5), 84, 64, "'boxes' is dead", ("head/conv",))
    trials: list[Trial] = [replace(trial, faults=(fault,)) if trial.id == TRIAL else trial for trial in RECORD.trials]
    document = show_document(replace(RECORD, trials=tuple(trials)))
    told = {trial.id: trial.faults for trial in document.trials}
    assert [one.words for one in told[TRIAL]] == ["'boxes' is dead"]
    assert not any(faults for name, faults in told.items() if name != TRIAL)
    again = msgspec.json.decode(msgspec.json.encode(document), type=ShowDocument)
    assert again.trials == document.trials
    text = msgspec.json.encode(told[TRIAL][0]).decode()
    assert text == (
        '{"kind":"all zero","tensor":"boxes","axis":2,"channels":[4,5],"of":84,"items":64,'
        '"words":"\'boxes\' is dead","nodes":["head/conv"]}'
    )


def test_the_terminal_names_the_worst() -> None:
    out = StringIO()
    print_study(RECORD, Console(file=out, width=140), [EXPLANATION])
    assert "1 layer1/conv2: 52% of the loss, alone 22.8 dB" in out.getvalue()


@pytest.mark.parametrize(
    ("name", "fits", "short"),
    [
        ("stem/conv", 12, "stem/conv"),
        ("features/14/conv/1", 15, "fea/14/conv/1"),
        ("body.1.shortcut.conv", 15, "bod.1.sho.conv"),
        ("body.1.shortcut.conv", 10, "b.1.s.conv"),
        ("encoder/layer.11/attention/self/query", 16, "e/l.11/a/s/query"),
        ("block01.depthwise", 11, "b01.depthw…"),
        ("averyveryverylongname", 10, "averyvery…"),
        ("node_conv2d_23", 10, "node…2d_23"),
    ],
)
def test_names_are_shortened_but_keep_their_numbers(name: str, fits: int, short: str) -> None:
    assert fit_name(name, fits) == short
    assert len(short) <= fits


def test_what_all_names_share_is_left_out() -> None:
    groups = [make_group(name) for name in ("/net/a/Conv", "/net/b/Conv")]
    assert shorten_names(groups) == ("a", "b")
    assert shorten_names([make_group("net.conv1"), make_group("net.conv2")]) == ("conv1", "conv2")
    assert shorten_names([make_group("net.conv1")]) == ("net.conv1",)
    same = [replace(make_group(name), operators=("Conv", "Gemm")) for name in ("/net/a/Conv", "/net/a/Gemm")]
    assert shorten_names(same) == ("Conv", "Gemm")


def test_corners_are_round_and_ends_stay() -> None:
    path = round_corners([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)])
    assert path.vertices[0].tolist() == [0, 0]
    assert path.vertices[-1].tolist() == [10, 10]
    assert [10.0, 0.0] in path.vertices.tolist()
    assert [6.0, 0.0] in path.vertices.tolist()


@pytest.mark.parametrize(("share", "text"), [(0.0, "0%"), (0.001, "<1%"), (0.006, "1%"), (0.5, "50%"), (1.0, "100%")])
def test_a_share_that_is_not_zero_never_reads_as_zero(share: float, text: str) -> None:
    assert write_share(share) == text
