"""Compositions are submitted once, found again, numbered where a name is taken, and their failures are told."""

import io

import pytest

from demo import jobs
from demo.client import ApiError
from demo.terminal import DemoError, Terminal

QUESTION = {"task": "t", "seed": 0}
REQUEST = {"name": "result", "modules": "auto"}


def job(number, status="succeeded", **more):
    return {
        "id": number,
        "status": status,
        "progress": {"done": 3, "budget": 4},
        "best_loss": None,
        "result": {"adapter": "demo/result", "revision": "1"},
        **more,
    }


class Api:
    """Stands in for the site: keeps jobs, and applies the rules of names and idempotency keys."""

    def __init__(self):
        self.jobs, self.posts, self.taken = {}, [], set()

    def post(self, path, body, headers):
        self.posts.append((body["name"], headers["Idempotency-Key"]))
        if body["name"] in self.taken:
            raise ApiError(409, "name-taken", "Choose another name.")
        number = len(self.jobs) + 1
        self.jobs[number] = job(number)
        return self.jobs[number]

    def get(self, path):
        number = int(path.rpartition("/")[2])
        if number not in self.jobs:
            raise ApiError(404, "not-found", "There is no such composition.")
        return self.jobs[number]


@pytest.fixture
def api():
    return Api()


def submit(api, folder, question=QUESTION):
    return jobs.Jobs(folder, api).submit(question, REQUEST)


def test_a_second_run_finds_the_job(api, tmp_path):
    first, new = submit(api, tmp_path)
    assert new
    assert submit(api, tmp_path) == (first, False)
    assert len(api.posts) == 1


def test_another_seed_is_another_job(api, tmp_path):
    submit(api, tmp_path)
    assert submit(api, tmp_path, {**QUESTION, "seed": 1})[1]


@pytest.mark.parametrize("change", [{"status": "failed"}, {"status": "cancelled"}, {"result": None, "verdict": "mix"}])
def test_a_useless_job_is_tried_again_under_a_new_key(api, tmp_path, change):
    submit(api, tmp_path)
    api.jobs[1].update(change)
    again, new = submit(api, tmp_path)
    assert new and again["id"] == 2
    assert api.posts[0][1] != api.posts[1][1]


def test_a_job_that_found_nothing_is_reused(api, tmp_path):
    submit(api, tmp_path)
    api.jobs[1].update(result=None, verdict="nothing")
    assert not submit(api, tmp_path)[1]


def test_a_job_of_another_database_is_submitted_again(api, tmp_path):
    submit(api, tmp_path)
    api.jobs.clear()
    assert submit(api, tmp_path)[1]


def test_a_taken_name_gets_a_number(api, tmp_path):
    api.taken = {"result", "result-2"}
    submit(api, tmp_path)
    assert [name for name, _ in api.posts] == ["result", "result-2", "result-3"]
    assert len({key for _, key in api.posts}) == 3


def test_other_refusals_are_not_swallowed(api, tmp_path, monkeypatch):
    def refuse(*args):
        raise ApiError(429, "too-many-jobs", "Wait.")

    monkeypatch.setattr(api, "post", refuse)
    with pytest.raises(ApiError, match="too-many-jobs"):
        submit(api, tmp_path)


def test_watching_tells_progress_and_ends(api, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "PAUSE", 0)
    api.jobs[1] = job(1)
    out, alive = io.StringIO(), []
    running = job(1, "running", best_loss=1.5)
    done = jobs.Jobs(tmp_path, api).watch(running, Terminal(1, out, every=0), lambda: alive.append(True))
    assert done["status"] == "succeeded" and alive
    assert "running    [##################------] 3/4  best loss 1.500" in out.getvalue()


def test_a_failed_job_says_why(api, tmp_path):
    failed = job(1, "failed", error={"code": "example-too-long", "message": "Example 3 takes 9000 tokens."})
    with pytest.raises(DemoError, match="composition 1 failed: Example 3 takes 9000 tokens"):
        jobs.Jobs(tmp_path, api).watch(failed, Terminal(1, io.StringIO()), lambda: None)


def test_watching_stops_when_the_site_is_gone(api, tmp_path):
    def gone():
        raise DemoError("The site stopped by itself")

    with pytest.raises(DemoError, match="stopped by itself"):
        jobs.Jobs(tmp_path, api).watch(job(1, "running"), Terminal(1, io.StringIO()), gone)
