import random
from itertools import pairwise

import pytest

from assay.report.charts.group_layout import MOST_LANES, Edge, find_columns, lay_out

CHAIN = [(i, i + 1) for i in range(19)]


def invent(seed: int, count: int) -> list[Edge]:
    rng = random.Random(seed)  # noqa: S311 - a test's graph
    reach = rng.choice([2, 5, count])
    edges = {(rng.randrange(max(0, i - reach), i), i) for i in range(1, count) for _ in range(rng.choice([1, 1, 2, 4]))}
    return sorted(edges)


GRAPHS = [(seed, 1 + seed * 9) for seed in range(12)]


def test_a_chain_is_wrapped_into_rows_of_about_equal_length() -> None:
    layout = lay_out(20, CHAIN, 8)
    assert layout.width == 7  # 20 in 3 rows, not 8 + 8 + 4
    assert [place.row for place in layout.places] == [0] * 7 + [1] * 7 + [2] * 6
    assert [place.column for place in layout.places] == [*range(7), *range(7), *range(6)]
    assert layout.straight == tuple(CHAIN)
    assert layout.buses == ()
    assert layout.lanes == (1, 1, 1)
    assert layout.tracks == (0, 0, 0)


def test_a_branch_gets_a_lane_and_what_joins_returns_to_the_first() -> None:
    layout = lay_out(6, [(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5)], 8)
    assert [place.column for place in layout.places] == [0, 1, 1, 2, 2, 3]
    assert [place.lane for place in layout.places] == [0, 0, 1, 0, 1, 0]
    assert layout.buses == ()


def test_a_residual_way_runs_above_and_nested_ones_above_each_other() -> None:
    chain = [(i, i + 1) for i in range(5)]
    layout = lay_out(6, sorted([*chain, (0, 5), (1, 3), (3, 5)]), 8)
    assert dict(layout.buses) == {(0, 5): 1, (1, 3): 0, (3, 5): 0}
    assert layout.tracks == (2,)


def test_one_that_reads_from_none_stands_before_its_reader() -> None:
    assert find_columns(5, [(0, 1), (1, 2), (2, 4), (3, 4)]) == [0, 1, 2, 2, 3]


def test_more_side_by_side_than_there_are_lanes_take_another_column() -> None:
    layout = lay_out(MOST_LANES + 3, [(0, i) for i in range(1, MOST_LANES + 3)], 8)
    assert layout.lanes == (MOST_LANES,)
    assert {place.column for place in layout.places} == {0, 1, 2}


def test_one_group_alone_is_placed() -> None:
    layout = lay_out(1, [], 8)
    assert (layout.width, layout.lanes, layout.tracks) == (1, (1,), (0,))


@pytest.mark.parametrize(("seed", "count"), GRAPHS)
@pytest.mark.parametrize("most", [4, 8])
def test_no_box_covers_another_and_every_way_leads_on(seed: int, count: int, most: int) -> None:
    edges = invent(seed, count)
    layout = lay_out(count, edges, most)
    assert len(set(layout.places)) == count
    assert all(place.column < layout.width <= most for place in layout.places)
    assert all(place.lane < layout.lanes[place.row] for place in layout.places)
    assert sorted([*layout.straight, *(edge for edge, _ in layout.buses)]) == edges
    columns = [place.row * layout.width + place.column for place in layout.places]
    assert all(columns[source] < columns[target] for source, target in edges)
    assert all(columns[target] == columns[source] + 1 for source, target in layout.straight)


@pytest.mark.parametrize(("seed", "count"), GRAPHS)
def test_buses_of_one_track_do_not_overlap(seed: int, count: int) -> None:
    layout = lay_out(count, invent(seed, count), 8)
    columns = [place.row * layout.width + place.column for place in layout.places]
    spans: dict[tuple[int, int], list[int]] = {}
    for (source, target), track in layout.buses:
        spans.setdefault((track, source), []).append(columns[target])
        assert track < layout.tracks[layout.places[source].row]
        assert track < layout.tracks[layout.places[target].row]
    for track in {track for track, _ in spans}:
        own = sorted((columns[source], max(ends)) for (at, source), ends in spans.items() if at == track)
        assert all(before[1] <= behind[0] for before, behind in pairwise(own))
