"""Every public call of the released client's HfApi: it is in the conformance table, or it is outside and says so with a sentence."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, SpaceHardware, Volume
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import LFSFileInfo

from tests.hf import conformance
from tests.hf.conformance import conforms
from tests.hf.site import Site

HUB = "huggingface_hub 2.4"
R = "owner/outside"
Call = Callable[[HfApi], Any]
FILE = LFSFileInfo(fileOid="0" * 64, filename="a", oid="0" * 64, pushedAt="2026-01-01T00:00:00.000Z", ref="main", size=1)

# Answered by other hosts than the hub, or by none: the client computes them by itself.
ELSEWHERE = {
    *("run_as_future", "get_full_repo_name"),
    *("create_inference_endpoint", "create_inference_endpoint_from_catalog", "delete_inference_endpoint", "get_inference_endpoint"),
    *("list_inference_catalog", "list_inference_endpoints", "list_inference_endpoints_hardware", "pause_inference_endpoint"),
    *("resume_inference_endpoint", "scale_to_zero_inference_endpoint", "update_inference_endpoint", "list_dataset_parquet_files"),
}
# These ask for a repository of a kind that is not here, which is a missing one.
MISSING: dict[str, Call] = {
    "dataset_info": lambda a: a.dataset_info(R),
    "space_info": lambda a: a.space_info(R),
    "kernel_info": lambda a: a.kernel_info(R),
    "get_dataset_leaderboard": lambda a: a.get_dataset_leaderboard(R),
    "get_space_runtime": lambda a: a.get_space_runtime(R),
    "get_space_variables": lambda a: a.get_space_variables(R),
    "get_space_secrets": lambda a: a.get_space_secrets(R),
    "fetch_space_logs": lambda a: list(a.fetch_space_logs(R)),
    "wait_for_space": lambda a: a.wait_for_space(R),
}
OUTSIDE: dict[str, Call] = {
    "super_squash_history": lambda a: a.super_squash_history(R),
    "list_lfs_files": lambda a: list(a.list_lfs_files(R)),
    "permanently_delete_lfs_files": lambda a: a.permanently_delete_lfs_files(R, [FILE]),
    "duplicate_repo": lambda a: a.duplicate_repo(R, "owner/copy"),
    "get_sharded_safetensors_metadata": lambda a: a.get_sharded_safetensors_metadata(R),
    "get_model_tags": lambda a: a.get_model_tags(),
    "get_dataset_tags": lambda a: a.get_dataset_tags(),
    "get_repo_discussions": lambda a: list(a.get_repo_discussions(R)),
    "get_discussion_details": lambda a: a.get_discussion_details(R, 1),
    "create_discussion": lambda a: a.create_discussion(R, "t"),
    "create_pull_request": lambda a: a.create_pull_request(R, "t"),
    "comment_discussion": lambda a: a.comment_discussion(R, 1, "c"),
    "rename_discussion": lambda a: a.rename_discussion(R, 1, "new"),
    "change_discussion_status": lambda a: a.change_discussion_status(R, 1, "closed"),
    "merge_pull_request": lambda a: a.merge_pull_request(R, 1),
    "edit_discussion_comment": lambda a: a.edit_discussion_comment(R, 1, "id", "c"),
    "hide_discussion_comment": lambda a: a.hide_discussion_comment(R, 1, "id"),
    "update_collection_resource_group": lambda a: a.update_collection_resource_group("owner/c-0", None),
    "list_webhooks": lambda a: list(a.list_webhooks()),
    "get_webhook": lambda a: a.get_webhook("w"),
    "create_webhook": lambda a: a.create_webhook(url="http://x.example", watched=[{"type": "user", "name": "owner"}]),
    "update_webhook": lambda a: a.update_webhook("w", url="http://x.example"),
    "enable_webhook": lambda a: a.enable_webhook("w"),
    "disable_webhook": lambda a: a.disable_webhook("w"),
    "delete_webhook": lambda a: a.delete_webhook("w"),
    "list_organization_followers": lambda a: list(a.list_organization_followers("acme")),
    "list_user_followers": lambda a: list(a.list_user_followers("owner")),
    "list_user_following": lambda a: list(a.list_user_following("owner")),
    "list_papers": lambda a: list(a.list_papers(query="x")),
    "paper_info": lambda a: a.paper_info("2307.00000"),
    "read_paper": lambda a: a.read_paper("2307.00000"),
    "list_daily_papers": lambda a: list(a.list_daily_papers()),
    "list_datasets": lambda a: list(a.list_datasets()),
    "list_spaces": lambda a: list(a.list_spaces()),
    "search_spaces": lambda a: list(a.search_spaces("x")),
    "list_space_templates": lambda a: list(a.list_space_templates()),
    "list_spaces_hardware": lambda a: list(a.list_spaces_hardware()),
    "get_zero_gpu_quota": lambda a: a.get_zero_gpu_quota(),
    "add_space_secret": lambda a: a.add_space_secret(R, "k", "v"),
    "delete_space_secret": lambda a: a.delete_space_secret(R, "k"),
    "add_space_variable": lambda a: a.add_space_variable(R, "k", "v"),
    "delete_space_variable": lambda a: a.delete_space_variable(R, "k"),
    "request_space_hardware": lambda a: a.request_space_hardware(R, SpaceHardware.CPU_BASIC),
    "set_space_sleep_time": lambda a: a.set_space_sleep_time(R, 300),
    "pause_space": lambda a: a.pause_space(R),
    "restart_space": lambda a: a.restart_space(R),
    "enable_space_dev_mode": lambda a: a.enable_space_dev_mode(R),
    "disable_space_dev_mode": lambda a: a.disable_space_dev_mode(R),
    "set_space_volumes": lambda a: a.set_space_volumes(R, [Volume(type="model", source=R, mount_path="/x")]),
    "delete_space_volumes": lambda a: a.delete_space_volumes(R),
    "run_job": lambda a: a.run_job(image="i", command=["c"], namespace="owner"),
    "list_jobs": lambda a: list(a.list_jobs(namespace="owner")),
    "list_jobs_hardware": lambda a: list(a.list_jobs_hardware()),
    "inspect_job": lambda a: a.inspect_job(job_id="j", namespace="owner"),
    "cancel_job": lambda a: a.cancel_job(job_id="j", namespace="owner"),
    "create_scheduled_job": lambda a: a.create_scheduled_job(image="i", command=["c"], schedule="@hourly", namespace="owner"),
    "list_scheduled_jobs": lambda a: list(a.list_scheduled_jobs(namespace="owner")),
    "inspect_scheduled_job": lambda a: a.inspect_scheduled_job(scheduled_job_id="j", namespace="owner"),
    "delete_scheduled_job": lambda a: a.delete_scheduled_job(scheduled_job_id="j", namespace="owner"),
    "suspend_scheduled_job": lambda a: a.suspend_scheduled_job(scheduled_job_id="j", namespace="owner"),
    "resume_scheduled_job": lambda a: a.resume_scheduled_job(scheduled_job_id="j", namespace="owner"),
    "create_bucket": lambda a: a.create_bucket("owner/b"),
    "list_buckets": lambda a: list(a.list_buckets(namespace="owner")),
    "delete_bucket": lambda a: a.delete_bucket("owner/b"),
    "move_bucket": lambda a: a.move_bucket("owner/b", "owner/c"),
    "update_bucket_settings": lambda a: a.update_bucket_settings("owner/b", private=True),
}
# Families whose other calls go to the same addresses as those above: all of jobs and buckets.
FAMILIES = re.compile(r"(?:^|_)(?:job|jobs|bucket|buckets)(?:_|$)")


def public() -> set[str]:
    """The names of HfApi's public calls."""
    return {name for name, _ in inspect.getmembers(HfApi, inspect.isfunction) if not name.startswith("_")}


def proved() -> set[str]:
    """The names in the rows that say a call works, or works differently."""
    return {name for row in conformance.rows() if row.answer != "501" for name in re.findall(r"[a-z_]+", _spread(row.call))}


def test_every_call_is_proved_or_outside():
    outside = ELSEWHERE | MISSING.keys() | OUTSIDE.keys() | {"upload_attachment"}
    unsaid = {name for name in public() - proved() - outside if not FAMILIES.search(name)}
    assert not unsaid, f"neither in the conformance table nor said to be outside: {sorted(unsaid)}"
    assert not (MISSING.keys() | OUTSIDE.keys()) & proved(), "a call is outside or it works"
    assert outside <= public(), f"the client has no such calls: {sorted(outside - public())}"


@conforms(HUB, "jobs, buckets, webhooks, papers, spaces", "501", "a space, dataset or bucket that one reads is a missing repository")
@pytest.mark.filterwarnings("ignore:Hidden comments")
@pytest.mark.parametrize("name", sorted(OUTSIDE))
def test_what_is_outside_says_so(api: HfApi, site: Site, name: str):
    if site.http("GET", f"/api/models/{R}").status_code != 200:
        site.upload("outside")
    with pytest.raises(HfHubHTTPError) as error:
        OUTSIDE[name](api)
    response = error.value.response
    assert (response.status_code, response.headers["X-Error-Code"]) == (501, "NotImplemented"), response.text
    assert response.headers["X-Error-Message"].startswith("Medley ") and response.headers["X-Request-Id"]
    assert response.headers["X-Error-Message"] in str(error.value), "the client shows the sentence"


@pytest.mark.parametrize("name", sorted(MISSING))
def test_what_cannot_be_here_is_missing(api: HfApi, name: str):
    with pytest.raises((RepositoryNotFoundError, HfHubHTTPError)) as error:
        MISSING[name](api)
    response = error.value.response
    assert (response.status_code, response.headers["X-Error-Code"]) == (404, "RepoNotFound"), response.text


def test_an_attachment_is_refused(api: HfApi, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(HfHubHTTPError) as error:
        api.upload_attachment(str(tmp_path / "a.png"))
    assert (error.value.response.status_code, error.value.response.headers["X-Error-Code"]) == (501, "NotImplemented")


def _spread(call: str) -> str:
    """Write "list_pending/accepted_requests" out as the names it stands for."""
    for head, middle, tail in re.findall(r"\b([a-z]+_)?((?:[a-z]+/)+[a-z]+)(_[a-z_]+)", call):
        call += "".join(f" {head}{part}{tail}" for part in middle.split("/"))
    return call
