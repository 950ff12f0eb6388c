"""Gated models with the released client: what it raises, what it still reads, and how an owner lets people in."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi, HfFileSystem, ModelCard, hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

from tests.hf.conformance import conforms
from tests.hf.site import Site

HUB = "huggingface_hub 2.4"
WEIGHTS = "adapter_model.safetensors"


def status(error: "pytest.ExceptionInfo[HfHubHTTPError]") -> tuple[int, str]:
    """What the server said."""
    return error.value.response.status_code, error.value.response.headers["X-Error-Code"]


def ask(site: Site, repo_id: str, token: str) -> str:
    """Ask for access, as the page's button does on the Hub."""
    answer = site.http("POST", f"/{repo_id}/ask-access", token=token)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["status"])


@conforms(HUB, "update_repo_settings(gated='auto', 'manual' or False), model_info(...).gated, list_models(gated=...)")
def test_settings(api: HfApi, outsider: HfApi, site: Site, cache: Path):
    site.upload("gate-settings", card="# Open\n")
    assert api.model_info("owner/gate-settings").gated is False
    for gated in ("auto", "manual"):
        api.update_repo_settings("owner/gate-settings", gated=gated)
        assert outsider.model_info("owner/gate-settings").gated == gated
        assert "owner/gate-settings" in [m.id for m in outsider.list_models(gated=True)]
        assert "owner/gate-settings" not in [m.id for m in outsider.list_models(gated=False)]
        assert next(m for m in outsider.list_models(search="gate-settings", full=True)).gated == gated
    with pytest.raises(HfHubHTTPError) as error:
        outsider.update_repo_settings("owner/gate-settings", gated=False)
    assert status(error) == (403, "forbidden")
    api.update_repo_settings("owner/gate-settings", gated=False)
    assert outsider.hf_hub_download("owner/gate-settings", WEIGHTS, cache_dir=cache)
    refused = site.http("PUT", "/api/models/owner/gate-settings/settings", json={"gated": "perhaps"})
    assert (refused.status_code, refused.headers["X-Error-Code"]) == (400, "gated-invalid")


@conforms(
    HUB,
    "GatedRepoError: hf_hub_download, snapshot_download, get_hf_file_metadata, auth_check, HfFileSystem",
    note="the card, the tree and all metadata stay open",
)
def test_what_the_client_raises(api: HfApi, outsider: HfApi, anonymous: HfApi, site: Site, cache: Path):
    site.upload("gate-shut", card="---\nlicense: mit\n---\n# Shut\n")
    api.update_repo_settings("owner/gate-shut", gated="manual")
    for asker, code in ((outsider, 403), (anonymous, 401)):
        with pytest.raises(GatedRepoError) as error:
            asker.hf_hub_download("owner/gate-shut", WEIGHTS, cache_dir=cache)
        assert f"{site.url}/owner/gate-shut has the button" in str(error.value)
        assert status(error) == (code, "GatedRepo") and error.value.request_id
        for call in (
            lambda a=asker: a.snapshot_download("owner/gate-shut", cache_dir=cache, allow_patterns="*.safetensors"),
            lambda a=asker: a.get_hf_file_metadata(url=f"{site.url}/owner/gate-shut/resolve/main/adapter_config.json"),
            lambda a=asker: a.auth_check("owner/gate-shut"),
            lambda a=asker: a.parse_safetensors_file_metadata("owner/gate-shut", WEIGHTS),
        ):
            with pytest.raises(GatedRepoError):
                call()
        assert asker.repo_exists("owner/gate-shut") and asker.model_info("owner/gate-shut", files_metadata=True).card_data.license == "mit"
        assert WEIGHTS in asker.list_repo_files("owner/gate-shut")
        assert ModelCard.load(asker.hf_hub_download("owner/gate-shut", "README.md", cache_dir=cache)).data.license == "mit"
    files = HfFileSystem(endpoint=site.url, token=site.stranger, skip_instance_cache=True)
    assert files.exists("owner/gate-shut/README.md")
    with pytest.raises(GatedRepoError):
        files.read_bytes(f"owner/gate-shut/{WEIGHTS}")
    assert api.hf_hub_download("owner/gate-shut", WEIGHTS, cache_dir=cache) and api.auth_check("owner/gate-shut") is None


@conforms(
    HUB,
    "list_pending/accepted/rejected_access_requests, accept/reject/cancel_access_request, grant_access",
    note="an owner sees user names, and no e-mail addresses",
)
def test_letting_people_in(api: HfApi, outsider: HfApi, site: Site, cache: Path):
    site.upload("gate-manual")
    api.update_repo_settings("owner/gate-manual", gated="manual")
    repo = "owner/gate-manual"
    assert ask(site, repo, site.stranger) == ask(site, repo, site.stranger) == "pending"
    pending = list(api.list_pending_access_requests(repo))
    assert [(r.username, r.status, r.email, r.fields) for r in pending] == [("stranger", "pending", None, None)] and pending[0].request_id
    assert pending[0].timestamp.year > 2000
    api.accept_access_request(repo, "stranger")
    assert outsider.hf_hub_download(repo, WEIGHTS, cache_dir=cache) and outsider.auth_check(repo) is None
    assert [r.username for r in api.list_accepted_access_requests(repo)] == ["stranger"] and not list(api.list_pending_access_requests(repo))
    api.cancel_access_request(repo, "stranger")
    assert [r.username for r in api.list_pending_access_requests(repo)] == ["stranger"]
    api.reject_access_request(repo, request_id=pending[0].request_id, rejection_reason="not now")
    assert [r.username for r in api.list_rejected_access_requests(repo)] == ["stranger"]
    with pytest.raises(GatedRepoError, match="rejected"):
        outsider.get_hf_file_metadata(url=f"{site.url}/{repo}/resolve/main/{WEIGHTS}")
    api.grant_access(repo, "stranger")
    assert outsider.get_hf_file_metadata(url=f"{site.url}/{repo}/resolve/main/{WEIGHTS}").size
    for call, expected in (
        (lambda: api.grant_access(repo, "stranger"), (400, "access-unchanged")),
        (lambda: api.grant_access(repo, "nobody-at-all"), (404, "user-not-found")),
        (lambda: api.accept_access_request(repo, "stranger"), (404, "access-unchanged")),
        (lambda: api.accept_access_request(repo, "nobody-at-all"), (404, "user-not-found")),
        (lambda: api.accept_access_request(repo, "owner"), (404, "request-not-found")),
        (lambda: api.accept_access_request(repo, request_id="f" * 24), (404, "request-not-found")),
        (lambda: api.accept_access_request(repo, request_id="1"), (404, "request-not-found")),
        (lambda: list(outsider.list_accepted_access_requests(repo)), (403, "forbidden")),
        (lambda: outsider.grant_access(repo, "stranger"), (403, "forbidden")),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            call()
        assert status(error) == expected


def test_whoever_asks_is_let_in(api: HfApi, outsider: HfApi, site: Site, cache: Path):
    site.upload("gate-auto")
    api.update_repo_settings("owner/gate-auto", gated="auto")
    with pytest.raises(GatedRepoError):
        outsider.auth_check("owner/gate-auto")
    assert ask(site, "owner/gate-auto", site.stranger) == "accepted"
    assert outsider.hf_hub_download("owner/gate-auto", WEIGHTS, cache_dir=cache)
    for token, address, expected in (
        ("", "/owner/gate-auto/ask-access", (401, "login-required")),
        (site.token, "/owner/gate-auto/ask-access", (400, "access-own")),
        (site.reader, "/api/models/owner/gate-auto/ask-access", (403, "scope-too-narrow")),
        (site.stranger, "/api/models/owner/none/ask-access", (404, "RepoNotFound")),
    ):
        refused = site.http("POST", address, token=token)
        assert (refused.status_code, refused.headers["X-Error-Code"]) == expected


def test_the_gate_of_what_is_open(api: HfApi, site: Site):
    site.upload("gate-none")
    assert not list(api.list_pending_access_requests("owner/gate-none"))
    with pytest.raises(HfHubHTTPError) as error:
        api.grant_access("owner/gate-none", "stranger")
    assert status(error) == (400, "not-gated")


def test_many_requests_come_in_pages(api: HfApi, site: Site):
    site.upload("gate-many")
    api.update_repo_settings("owner/gate-many", gated="manual")
    site.shell(
        "a = Adapter.objects.get(name='gate-many')\n"
        "people = User.objects.bulk_create([User(username=f'reader{n}') for n in range(230)])\n"
        "AccessRequest.objects.bulk_create([AccessRequest(adapter=a, user=u) for u in people])"
    )
    names = [r.username for r in api.list_pending_access_requests("owner/gate-many")]
    assert len(names) == len(set(names)) == 230


def test_a_cache_is_of_no_use_to_others(api: HfApi, outsider: HfApi, site: Site, cache: Path):
    """A client that had the file before it was gated keeps its own copy, and gets no newer one."""
    sha = site.upload("gate-later")
    outsider.hf_hub_download("owner/gate-later", WEIGHTS, cache_dir=cache)
    api.update_repo_settings("owner/gate-later", gated="manual")
    site.upload_again("gate-later", seed=4)
    assert hf_hub_download("owner/gate-later", WEIGHTS, revision=sha, cache_dir=cache, endpoint=site.url, token=site.stranger)
    with pytest.raises(GatedRepoError):
        snapshot_download("owner/gate-later", cache_dir=f"{cache}-2", endpoint=site.url, token=site.stranger, allow_patterns=WEIGHTS)
