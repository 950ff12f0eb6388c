"""The demo's tasks: sound rows, held-out rows that are held out, and no task that a starter adapter was trained on."""

import json
import re

import pytest

from compose_worker.engine import catalogue
from demo import run, starters
from hub.services import jobs

TASKS = sorted(path.name for path in run.TASKS.iterdir() if path.is_dir())
each = pytest.mark.parametrize("task", TASKS)


@each
def test_rows_are_examples_that_the_hub_takes(task):
    for part in ("train", "test"):
        rows = run.read_rows(task, part)
        for start in range(0, len(rows), catalogue.MAX_EXAMPLES):
            chunk = rows[start : start + catalogue.MAX_EXAMPLES]
            full = (chunk + rows)[: max(len(chunk), catalogue.MIN_EXAMPLES)]
            assert jobs.check_examples(full) == full


@each
def test_no_held_out_row_is_among_the_examples(task):
    train = {row["input"] for row in run.read_rows(task, "train")}
    test = [row["input"] for row in run.read_rows(task, "test")]
    assert train.isdisjoint(test)
    assert 20 <= len(test) <= 200


def test_no_starter_adapter_was_trained_on_them():
    record = json.loads((starters.FOLDER / "metrics.json").read_text())
    trained_on = {row["bigbench_task"].replace("/", "__") for row in record["adapters"].values()}
    assert trained_on.isdisjoint(TASKS)
    assert run.DEFAULT_TASK in TASKS


def test_the_overview_counts_them():
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|$", (run.TASKS / "README.md").read_text(), re.MULTILINE)
    assert {name: (int(train), int(test)) for name, train, test in rows} == {t: (len(run.read_rows(t, "train")), len(run.read_rows(t, "test"))) for t in TASKS}
