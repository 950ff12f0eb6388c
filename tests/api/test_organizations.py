"""Organisations and the life cycle of adapters through the API."""

from hub.models import Adapter, User
from hub.services import accounts
from tests.api.conftest import V1, Api, client, multipart, order, refusal


def test_an_organisation_from_its_beginning_to_its_end(as_owner: Api, friend: User):
    made = as_owner.json("post", "/organizations", {"name": "acme", "about": "Sums."})
    assert (made.status_code, made["Location"]) == (201, "http://testserver/api/v1/organizations/acme")
    assert {k: v for k, v in made.json().items() if k != "created_at"} == {
        "name": "acme",
        "about": "Sums.",
        "members": 1,
        "role": "owner",
        "storage": {"limit": None, "used": 0},
    }
    assert as_owner.json("post", "/organizations/acme/invitations", {"user": "friend", "role": "writer"}).status_code == 201
    as_friend = client(friend)
    assert as_friend.get(f"{V1}/me/invitations").json()["items"][0]["organization"] == "acme"
    assert as_friend.json("post", "/me/invitations/acme", {"accept": True}).status_code == 204
    assert as_friend.get(f"{V1}/organizations").json() == {"items": [{"name": "acme", "about": "Sums.", "role": "writer"}]}
    assert as_friend.json("post", "/adapters", {"name": "lora", "owner": "acme", "private": True}).json()["id"] == "acme/lora"
    body, kind = multipart([("files", "README.md", b"# Ours\n")])
    assert as_friend.post(f"{V1}/adapters/acme/lora/commits", body, kind).status_code == 201
    assert as_owner.get(f"{V1}/adapters?owner=acme").json()["items"][0]["id"] == "acme/lora"
    assert Api().get(f"{V1}/adapters?owner=acme").json()["items"] == []
    assert refusal(as_friend.delete(f"{V1}/adapters/acme/lora")) == (403, "forbidden")
    assert [row["user"] for row in Api().get(f"{V1}/organizations/acme/members").json()["items"]] == ["friend", "owner"]
    assert as_owner.json("patch", "/organizations/acme", {"name": "ajax"}).json()["name"] == "ajax"
    assert as_friend.get(f"{V1}/adapters/acme/lora").json()["id"] == "ajax/lora"
    assert as_friend.delete(f"{V1}/organizations/ajax/members/friend").status_code == 204
    assert refusal(as_friend.get(f"{V1}/adapters/ajax/lora")) == (404, "not-found")
    log = as_owner.get(f"{V1}/organizations/ajax/log").json()["items"]
    assert (log[0]["action"], log[0]["actor"], log[0]["door"]) == ("member.leave", "friend", "api")
    assert refusal(as_owner.delete(f"{V1}/organizations/ajax")) == (409, "organization-not-empty")
    assert as_owner.delete(f"{V1}/adapters/ajax/lora").status_code == as_owner.delete(f"{V1}/me/deleted/ajax/lora").status_code == 204
    assert as_owner.delete(f"{V1}/organizations/ajax").status_code == 204


def test_names_that_are_not_ones_own(as_owner: Api, stranger: User, sums: Adapter):
    """The same sentence for somebody else's name and for one that nobody has."""
    said = {}
    for name in ("stranger", "nobody"):
        answers = [
            as_owner.json("post", "/adapters", {"name": "x", "owner": name}),
            as_owner.json("post", "/compositions", {**order("owner/sums"), "owner": name}),
        ]
        assert [refusal(a) for a in answers] == [(403, "forbidden")] * 2
        said[name] = answers[0].json()["error"]["message"].replace(name, "NAME")
    assert said["stranger"] == said["nobody"]


def test_delete_and_restore(as_owner: Api, sums: Adapter):
    assert as_owner.delete(f"{V1}/adapters/owner/sums").status_code == 204
    assert refusal(as_owner.get(f"{V1}/adapters/owner/sums")) == (404, "not-found")
    assert refusal(as_owner.json("post", "/adapters", {"name": "sums"})) == (400, "name-deleted")
    assert [row["id"] for row in as_owner.get(f"{V1}/me/deleted").json()["items"]] == ["owner/sums"]
    assert as_owner.post(f"{V1}/me/deleted/owner/sums").json()["id"] == "owner/sums"
    assert as_owner.get(f"{V1}/adapters/owner/sums").status_code == 200
    assert [row["action"] for row in as_owner.get(f"{V1}/adapters/owner/sums/log").json()["items"]][:2] == ["adapter.restore", "adapter.delete"]


def test_archive_rename_and_hand_over(as_owner: Api, friend: User, sums: Adapter):
    changed = as_owner.json("patch", "/adapters/owner/sums", {"archived": True, "name": "old-sums", "tags": ["done"]}).json()
    assert (changed["id"], changed["archived"], changed["tags"]) == ("owner/old-sums", True, ["done"])
    assert refusal(as_owner.json("patch", "/adapters/owner/old-sums", {"tags": []})) == (403, "archived")
    assert as_owner.json("patch", "/adapters/owner/old-sums", {"tags": [], "archived": False}).json()["tags"] == []
    offer = as_owner.json("post", "/adapters/owner/sums/transfer", {"to": "friend"})
    assert (offer.status_code, offer.json()["id"], offer.json()["to"]) == (202, "owner/old-sums", "friend")
    assert refusal(as_owner.json("post", "/adapters/owner/sums/transfer", {"to": "nobody"})) == (404, "user-not-found")
    as_friend = client(friend)
    assert as_friend.json("post", "/me/offers/owner/old-sums", {"accept": True}).status_code == 204
    assert as_friend.get(f"{V1}/adapters/owner/sums").json()["id"] == "friend/old-sums"
    assert refusal(as_owner.get(f"{V1}/adapters/friend/old-sums/log")) == (403, "forbidden")
    assert as_owner.get(f"{V1}/me/log?limit=1").json()["items"][0]["action"] == "adapter.hand-over"


def test_a_composition_for_an_organisation(as_owner: Api, sums: Adapter):
    as_owner.json("post", "/organizations", {"name": "acme"})
    made = as_owner.json("post", "/compositions", {**order("owner/sums"), "owner": "acme"}).json()
    assert made["result_id"] == "acme/result"
    assert accounts.find_owner("acme").adapters.count() == 0
