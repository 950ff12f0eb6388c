"""Organisations with the released client: who one is, what one makes there, who is in it."""

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from tests.hf.conformance import conforms
from tests.hf.site import Site

HUB = "huggingface_hub 2.4"


def founded(site: Site, name: str, role: str = "writer") -> None:
    """Make an organisation of the owner's, with the stranger as its member."""
    for token, method, path, body in (
        (site.token, "POST", "organizations", {"name": name, "about": "Sums for everyone."}),
        (site.token, "POST", f"organizations/{name}/invitations", {"user": "stranger", "role": role}),
        (site.stranger, "POST", f"me/invitations/{name}", {"accept": True}),
    ):
        assert site.http(method, f"/api/v1/{path}", token=token, json=body).status_code in (201, 204)


@conforms(HUB, "whoami (orgs), create_repo, upload_file, list_models(author=), move_repo: of an organisation")
def test_an_organisation_owns_models(api: HfApi, outsider: HfApi, anonymous: HfApi, site: Site):
    founded(site, "acme")
    assert [(o["name"], o["roleInOrg"]) for o in api.whoami()["orgs"] if o["name"] == "acme"] == [("acme", "admin")]
    assert [(o["name"], o["roleInOrg"]) for o in outsider.whoami()["orgs"] if o["name"] == "acme"] == [("acme", "write")]
    assert outsider.create_repo("acme/ours", private=True).repo_id == "acme/ours"
    assert outsider.create_repo("acme/ours", exist_ok=True).repo_id == "acme/ours"
    outsider.upload_file(path_or_fileobj=b"# Ours\n", path_in_repo="README.md", repo_id="acme/ours")
    assert [m.id for m in api.list_models(author="acme")] == ["acme/ours"] and not list(anonymous.list_models(author="acme"))
    with pytest.raises(RepositoryNotFoundError):
        anonymous.model_info("acme/ours")
    for call in (
        lambda: outsider.delete_repo("acme/ours"),
        lambda: outsider.update_repo_settings("acme/ours", private=False),
        lambda: outsider.move_repo("acme/ours", "stranger/ours"),
        lambda: api.move_repo("acme/ours", "stranger/ours"),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            call()
        assert error.value.response.status_code == 403
    api.move_repo("acme/ours", "owner/theirs-once")
    assert api.model_info("acme/ours").id == "owner/theirs-once"
    with pytest.raises(RepositoryNotFoundError):
        outsider.model_info("owner/theirs-once")
    api.move_repo("owner/theirs-once", "acme/back")
    assert outsider.model_info("acme/ours").id == "acme/back"


@conforms(HUB, "get_organization_overview, list_organization_members, list_user_repos(namespace=)")
def test_about_an_organisation(api: HfApi, outsider: HfApi, anonymous: HfApi, site: Site):
    founded(site, "ajax", "reader")
    api.create_repo("ajax/hidden", private=True)
    seen, hidden = outsider.get_organization_overview("ajax"), anonymous.get_organization_overview("ajax")
    assert (seen.name, seen.details, seen.num_users, seen.num_models, hidden.num_models) == ("ajax", "Sums for everyone.", 2, 1, 0)
    assert [u.username for u in anonymous.list_organization_members("ajax")] == ["stranger", "owner"]
    assert [o.name for o in anonymous.get_user_overview("stranger").orgs if o.name == "ajax"] == ["ajax"]
    assert [r.id for r in outsider.list_user_repos("ajax")] == ["ajax/hidden"]
    with pytest.raises(HfHubHTTPError) as error:
        outsider.create_repo("ajax/more")
    assert error.value.response.status_code == 403
    with pytest.raises(HfHubHTTPError) as error:
        anonymous.get_organization_overview("nobody-at-all")
    assert error.value.response.status_code == 404


@conforms(HUB, "delete_repo, create_repo of the same name", "differs", "A deleted adapter keeps its name while it can be restored; the call says so (400).")
def test_a_deleted_name_waits(api: HfApi, site: Site):
    site.upload("waiting")
    api.delete_repo("owner/waiting")
    for exist_ok in (False, True):
        with pytest.raises(HfHubHTTPError) as error:
            api.create_repo("waiting", exist_ok=exist_ok)
        assert error.value.response.headers["X-Error-Code"] == "name-deleted"
    assert site.http("DELETE", "/api/v1/me/deleted/owner/waiting").status_code == 204
    assert api.create_repo("waiting").repo_id == "owner/waiting"
