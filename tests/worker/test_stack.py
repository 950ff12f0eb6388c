"""Site, worker and clock as real processes: composing, dying, being cancelled, shutting down."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import make, tiny
from tests.worker.stack import Stack, wait

OVER = ("succeeded", "failed", "cancelled")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One Medley for the tests of this file, with six adapters and a base model."""
    folder = tmp_path_factory.mktemp("stack")
    tiny.llama(folder / "base-models" / make.BASE.replace("/", "--"))
    stack = Stack(folder)
    stack.start()
    stack.sign_up()
    for number in range(6):
        stack.upload(f"module-{number}", seed=number, rank=(4, 8)[number % 2], targets=("q_proj", "v_proj") if number < 4 else tuple(make.SHAPES))
    yield stack
    assert stack.stop() == 0


def slow(stack: Stack, name: str) -> int:
    """Submit a job that takes long enough to be disturbed."""
    return stack.compose(name, method="cma", settings={"budget": 400}, modules=[f"owner/module-{number}" for number in range(6)])


def test_it_works(stack: Stack) -> None:
    job = stack.until(stack.compose("works"), lambda job: job["status"] in OVER)
    assert job["status"] == "succeeded", job["error"]
    assert set(job["scores"]) == {"base", "best_single", "uniform", "composed"}
    assert [row["step"] for row in job["history"]] == list(range(len(job["history"])))


def test_a_result_is_in_the_catalogue_with_its_lineage(stack: Stack) -> None:
    modules = ["owner/module-0", "owner/module-5"]
    job = stack.until(stack.compose("published", method="cma", modules=modules, settings={"budget": 10}), lambda job: job["status"] in OVER)
    assert job["status"] == "succeeded", job["error"]
    assert job["result"]["adapter"] == "owner/published"
    adapter = stack.call("GET", "/adapters/owner/published")
    assert adapter["sha"] == job["result"]["revision"]
    assert {p["id"]: p["weight"] for p in adapter["parents"]} == {i: w for i, w in job["weights"].items() if w}
    recipe = httpx.get(f"{stack.url}/api/v1/adapters/owner/published/files/recipe.json").json()
    assert recipe["method"] == "cma"


def test_weights_are_measured_without_being_asked(stack: Stack) -> None:
    def said() -> dict[str, object]:
        return stack.call("GET", "/adapters/owner/module-1/similar")

    wait(lambda: said()["profile"] == "done", 60, lambda: str(said()))


def test_a_killed_worker_goes_on_where_it_was_and_ends_with_the_same_weights(stack: Stack) -> None:
    quiet = stack.until(slow(stack, "quiet"), lambda job: job["status"] in OVER)
    job_id = slow(stack, "killed")
    before = stack.until(job_id, lambda job: job["progress"]["done"] > 30)
    os.kill(stack.children()["worker"], signal.SIGKILL)
    after = stack.until(job_id, lambda job: job["status"] in OVER)
    assert after["status"] == "succeeded", after["error"]
    assert any("Taken over" in line["sentence"] for line in after["log"])
    assert [r["step"] for r in after["history"]] == list(range(len(quiet["history"])))  # nothing twice, nothing missing
    assert after["history"][: len(before["history"])] == before["history"]
    assert after["weights"] == quiet["weights"]
    assert [r["loss"] for r in after["history"]] == [r["loss"] for r in quiet["history"]]


def test_cancel_takes_effect_within_a_step(stack: Stack) -> None:
    job_id = slow(stack, "cancelled")
    stack.until(job_id, lambda job: job["progress"]["done"] > 10)
    asked = time.monotonic()
    stack.call("POST", f"/compositions/{job_id}/cancel")
    job = stack.until(job_id, lambda job: job["status"] in OVER)
    assert job["status"] == "cancelled"
    assert job["result"] is None
    assert time.monotonic() - asked < 10  # a heartbeat and a step, with room for a slow machine


def test_a_polite_stop_hands_the_job_back_and_the_next_start_ends_it(stack: Stack) -> None:
    job_id = slow(stack, "handed-back")
    stack.until(job_id, lambda job: job["progress"]["done"] > 10)
    assert stack.stop(signal.SIGTERM) == 0
    left = stack.manage("shell", "-v0", "-c", f"from hub.models import Composition; print(Composition.objects.get(pk={job_id}).status)")
    assert left.splitlines()[-1] == "queued"
    stack.start()
    job = stack.until(job_id, lambda job: job["status"] in OVER)
    assert job["status"] == "succeeded", job["error"]
    assert any("Handed back" in line["sentence"] for line in job["log"])


def test_a_base_model_that_no_worker_has_fails_with_its_name(stack: Stack) -> None:
    stack.upload("elsewhere", base="tiny/absent")
    job = stack.until(stack.compose("absent", base_model="tiny/absent"), lambda job: job["status"] in OVER)
    assert job["error"]["code"] == "base-model-unavailable"
    assert "tiny/absent" in job["error"]["message"]


def test_a_dead_site_is_started_again(stack: Stack) -> None:
    site = stack.children()["site"]
    os.kill(site, signal.SIGKILL)

    def again() -> bool:
        return stack.children().get("site", site) != site and stack._answers()

    wait(again, 30, lambda: (stack.folder / "log").read_text())


def test_a_browser_upload_that_is_cut_off_leaves_nothing(stack: Stack) -> None:
    with httpx.Client(base_url=stack.url, headers={"Referer": stack.url}) as browser:
        browser.get("/accounts/login/")
        form = {"login": "owner", "password": "correct horse battery", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        assert browser.post("/accounts/login/", data=form).status_code == 302
        form = {"name": "cut-off", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        files = [("files", (path, data)) for path, data in make.adapter(card="# A card that never arrives\n").items()]
        request = browser.build_request("POST", "/upload", data=form, files=files)
        body = request.read()
        cut = body.index(b"# A card")  # configuration and weights are whole, the last file is not
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        with socket.create_connection(("127.0.0.1", stack.port)) as connection:
            connection.sendall(f"POST /upload HTTP/1.1\r\n{head}\r\n".encode() + body[:cut])
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        assert browser.get("/owner/cut-off").status_code == 404
        assert browser.post("/upload", data=form, files=files).status_code == 302  # the same, whole
        assert browser.get("/owner/cut-off").status_code == 200


def test_a_taken_port_is_named(stack: Stack, tmp_path: Path) -> None:
    second = Stack(tmp_path)
    second.environment["PORT"] = str(stack.port)
    with pytest.raises(AssertionError, match="port-taken"):
        second.start()
