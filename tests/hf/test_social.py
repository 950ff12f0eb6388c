"""People and their likes with the released client."""

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from tests.hf.conformance import conforms
from tests.hf.site import Site

HUB = "huggingface_hub 2.4"


def like(site: Site, repo_id: str, token: str) -> None:
    """Like a model, as the page's button does on the Hub: the client has no call for it."""
    assert site.http("POST", f"/api/models/{repo_id}/like", token=token).status_code == 200


@conforms(HUB, "list_repo_likers, list_liked_repos, unlike")
def test_likes(api: HfApi, outsider: HfApi, anonymous: HfApi, site: Site):
    site.upload("liked")
    site.upload("liked-too", seed=1)
    site.upload("liked-secretly", seed=2, private=True)
    for name in ("liked", "liked-too", "liked-secretly"):
        like(site, f"owner/{name}", site.token)
    like(site, "owner/liked", site.stranger)
    like(site, "owner/liked", site.stranger)
    assert [(u.username, u.fullname) for u in anonymous.list_repo_likers("owner/liked")] == [("stranger", "stranger"), ("owner", "owner")]
    assert {"owner/liked", "owner/liked-too", "owner/liked-secretly"} <= set(api.list_liked_repos().models)
    others = outsider.list_liked_repos("owner")
    assert "owner/liked" in others.models and "owner/liked-secretly" not in others.models and others.user == "owner"
    outsider.unlike("owner/liked")
    assert [u.username for u in anonymous.list_repo_likers("owner/liked")] == ["owner"] and api.model_info("owner/liked").likes == 1
    for call in (lambda: list(outsider.list_repo_likers("owner/liked-secretly")), lambda: outsider.unlike("owner/liked-secretly")):
        with pytest.raises(RepositoryNotFoundError):
            call()
    assert site.http("POST", "/api/models/owner/liked/like", token="").status_code == 401
    assert site.http("POST", "/api/models/owner/liked/like", token=site.reader).status_code == 403


@conforms(HUB, "get_user_overview, list_user_repos")
def test_people(api: HfApi, outsider: HfApi, anonymous: HfApi, site: Site):
    site.upload("overseen", private=True)
    mine, theirs = api.get_user_overview("owner"), outsider.get_user_overview("owner")
    assert (mine.username, mine.user_type, mine.is_pro) == ("owner", "user", False)
    assert mine.num_models is not None and theirs.num_models is not None and mine.num_models > theirs.num_models
    with pytest.raises(HfHubHTTPError) as error:
        api.get_user_overview("nobody-at-all")
    assert (error.value.response.status_code, error.value.response.headers["X-Error-Code"]) == (404, "user-not-found")
    found = {r.id: r for r in api.list_user_repos()}["owner/overseen"]
    assert (found.type, found.visibility) == ("model", "private") and found.storage > 1000
    assert not [r for r in outsider.list_user_repos() if r.id.startswith("owner/")]
    with pytest.raises(HfHubHTTPError):
        list(anonymous.list_user_repos())
