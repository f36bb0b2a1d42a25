import pytest

from assay.core.errors import RequestError
from assay.measure.tasks.table import TASKS, find_metric, load_task


@pytest.mark.parametrize("name", TASKS)
def test_every_task_of_the_table_loads_under_its_name(name: str) -> None:
    task = load_task(name)
    assert task.name == name
    # Embeddings have no labels of their own: by default they are held against the reference's.
    assert task.metrics[0].labelled or task.metrics[0].name == "cosine"
    assert {"agreement", "cosine"} & {metric.name for metric in task.metrics}


def test_an_unknown_task_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RequestError, match=r"'clasification' is unknown.*did you mean 'classification'"):
        load_task("clasification")
    with pytest.raises(RequestError, match=r"'zzz' is unknown \(tasks are classification"):
        load_task("zzz")


def test_metrics_are_found_by_name() -> None:
    task = load_task("classification")
    assert find_metric(task, "top5").labelled
    assert not find_metric(task, "agreement").labelled
    with pytest.raises(RequestError, match=r"no metric 'top-1'.*did you mean 'top1'"):
        find_metric(task, "top-1")
