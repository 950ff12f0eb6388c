"""POST, GET, PATCH and DELETE of an adapter, its revisions and its likes."""

import pytest

from hub.models import Adapter, Event, Like, Revision, User
from hub.services import adapters, lifecycle, social
from tests.api.conftest import V1, Api, refusal
from tests.conftest import Upload, commit, compose, person

pytestmark = pytest.mark.django_db


def test_it_works(as_owner: Api, owner: User):
    response = as_owner.json("post", "/adapters", {"name": "My-LoRA", "private": True, "tags": ["Maths", "maths", "sums"]})
    found = response.json()
    assert response.status_code == 201
    assert (found["id"], found["owner"], found["name"], found["private"], found["tags"]) == ("owner/My-LoRA", "owner", "My-LoRA", True, ["maths", "sums"])
    assert (found["sha"], found["files"], found["facts"], found["parents"], found["scores"]) == (None, [], None, [], None)
    assert response["Location"] == "http://testserver/api/v1/adapters/owner/My-LoRA"
    assert as_owner.get(response["Location"].removeprefix("http://testserver")).json() == found
    assert Adapter.objects.get().owner == owner


def test_detail(anonymous: Api, sums: Adapter):
    found = anonymous.get(f"{V1}/adapters/owner/sums").json()
    assert set(found) == {
        *("id", "kind", "owner", "name", "private", "gated", "tags", "likes", "downloads", "created_at", "updated_at", "url", "base_model"),
        *("peft_type", "rank", "composable", "refusal", "licence", "summary", "card", "size", "sha", "facts", "files", "composed", "scores", "parents"),
        "archived",
    }
    assert (found["base_model"], found["peft_type"], found["rank"], found["composable"], found["refusal"]) == ("tiny/llama", "LORA", 4, True, "")
    assert (found["licence"], found["tags"], found["summary"], found["card"].strip()) == (
        "apache-2.0",
        ["arithmetic"],
        "Adds small numbers.",
        "# Sums\n\nAdds small numbers.",
    )
    assert (found["sha"], found["url"]) == (sums.head.sha, "http://testserver/owner/sums")
    assert found["facts"] == sums.head.facts
    assert [file["path"] for file in found["files"]] == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    assert sum(file["size"] for file in found["files"]) == found["size"] == sums.size


def test_owner_and_name_are_found_in_any_case(anonymous: Api, sums: Adapter):
    assert anonymous.get(f"{V1}/adapters/OWNER/Sums").json()["id"] == "owner/sums"


def test_an_older_revision_has_its_own_files_and_facts(anonymous: Api, sums: Adapter):
    first = sums.head
    commit(sums, {"notes.txt": b"second"})
    url = f"{V1}/adapters/owner/sums"
    assert len(anonymous.get(url).json()["files"]) == 4
    for ref in (first.sha, first.sha[:7]):
        found = anonymous.get(f"{url}?revision={ref}").json()
        assert (found["sha"], len(found["files"]), found["facts"]) == (first.sha, 3, first.facts)
        assert found["size"] == sum(file["size"] for file in found["files"])
    assert anonymous.get(f"{url}?revision=main").json()["sha"] == sums.head.sha


@pytest.mark.parametrize("ref", ["0" * 40, "abc", "../main", "refs/heads/x", "z" * 5000])
def test_a_revision_that_is_not_there(anonymous: Api, sums: Adapter, ref: str):
    assert refusal(anonymous.get(f"{V1}/adapters/owner/sums", {"revision": ref})) == (404, "revision-not-found")


def test_a_composed_adapter_shows_scores_and_the_parents_one_may_see(owner: User, as_owner: Api, as_stranger: Api, sums: Adapter, secret: Adapter):
    score = {"loss": 0.5, "accuracy": 0.8, "low": 0.6, "high": 0.9, "n": 20, "module": None}
    compose(owner, {sums: 0.75, secret: -0.5}, scores={"base": score, "composed": score})
    found = as_owner.get(f"{V1}/adapters/owner/mix").json()
    assert found["composed"] is True
    assert found["scores"] == {"base": score, "composed": score}
    assert found["parents"] == [
        {"id": "owner/sums", "revision": sums.head.sha, "weight": 0.75},
        {"id": "owner/secret", "revision": secret.head.sha, "weight": -0.5},
    ]
    lifecycle.rename(actor=owner, adapter=sums, name="totals")
    adapters.create(actor=owner, name="sums")  # another one, which has the name now
    assert [parent["id"] for parent in as_owner.get(f"{V1}/adapters/owner/mix").json()["parents"]] == ["owner/totals", "owner/secret"]
    assert [parent["id"] for parent in as_stranger.get(f"{V1}/adapters/owner/mix").json()["parents"]] == ["owner/totals", None]


@pytest.mark.parametrize("name", ["", "a b", "-x", "x.git", "a--b", "../x", "x/y", "a" * 97, "settings", "名"])
def test_a_name_that_cannot_be_used(as_owner: Api, name: str):
    response = as_owner.json("post", "/adapters", {"name": name})
    assert refusal(response) == (400, "name-invalid")
    assert response.json()["error"]["fields"]["name"]


def test_a_name_that_exists(as_owner: Api, sums: Adapter):
    assert refusal(as_owner.json("post", "/adapters", {"name": "SUMS"})) == (409, "name-taken")
    assert Adapter.objects.count() == 1


@pytest.mark.parametrize("tags", [["a\tb/c"], ["<b>"], [f"tag{n}" for n in range(21)], ["x" * 51]])
def test_tags_that_cannot_be_used(as_owner: Api, sums: Adapter, tags: list[str]):
    for response in (as_owner.json("post", "/adapters", {"name": "new", "tags": tags}), as_owner.json("patch", "/adapters/owner/sums", {"tags": tags})):
        assert response.status_code == 400
        assert "tags" in response.json()["error"]["fields"]


def test_patch(as_owner: Api, anonymous: Api, sums: Adapter):
    found = as_owner.json("patch", "/adapters/owner/sums", {"private": True}).json()
    assert (found["private"], found["tags"]) == (True, ["arithmetic"])
    assert anonymous.get(f"{V1}/adapters/owner/sums").status_code == 404
    found = as_owner.json("patch", "/adapters/owner/sums", {"private": False, "tags": []}).json()
    assert (found["private"], found["tags"]) == (False, [])
    assert as_owner.json("patch", "/adapters/owner/sums", {}).json() == found


def test_delete(as_owner: Api, sums: Adapter):
    response = as_owner.delete(f"{V1}/adapters/owner/sums")
    assert (response.status_code, response.content) == (204, b"")
    assert not Adapter.objects.exists()
    assert Event.objects.filter(verb="adapter.delete", subject="owner/sums").exists()


def test_someone_elses_adapter_is_not_changed(as_stranger: Api, sums: Adapter):
    head = sums.head
    assert refusal(as_stranger.json("patch", "/adapters/owner/sums", {"private": True})) == (403, "forbidden")
    assert refusal(as_stranger.delete(f"{V1}/adapters/owner/sums")) == (403, "forbidden")
    assert refusal(as_stranger.form("/adapters/owner/sums/commits", [("files", "a.txt", b"x")])) == (403, "forbidden")
    sums.refresh_from_db()
    assert (sums.private, sums.head) == (False, head)


def test_changing_needs_a_login(anonymous: Api, sums: Adapter):
    for response in (
        anonymous.json("post", "/adapters", {"name": "x"}),
        anonymous.json("patch", "/adapters/owner/sums", {"private": True}),
        anonymous.delete(f"{V1}/adapters/owner/sums"),
        anonymous.put(f"{V1}/adapters/owner/sums/like"),
    ):
        assert refusal(response) == (401, "login-required")
        assert response["WWW-Authenticate"] == "Bearer"


def test_revisions(anonymous: Api, owner: User, sums: Adapter):
    first = sums.head
    second = commit(sums, {"notes.txt": b"second"}, message="Say more")
    found = anonymous.get(f"{V1}/adapters/owner/sums/revisions").json()
    assert found["next"] is None
    assert [(item["sha"], item["parent"], item["message"], item["author"], item["composed"]) for item in found["items"]] == [
        (second.sha, first.sha, "Say more", "owner", False),
        (first.sha, None, "Upload 3 files", "owner", False),
    ]


def test_revisions_of_authors_who_left(anonymous: Api, sums: Adapter):
    Revision.objects.update(author=None)
    assert anonymous.get(f"{V1}/adapters/owner/sums/revisions").json()["items"][0]["author"] is None


def test_like(as_stranger: Api, as_owner: Api, sums: Adapter):
    url = f"{V1}/adapters/owner/sums/like"
    assert as_stranger.put(url).json() == {"liked": True, "likes": 1}
    assert as_stranger.put(url).json() == {"liked": True, "likes": 1}
    assert as_owner.put(url).json() == {"liked": True, "likes": 2}
    assert as_stranger.delete(url).json() == {"liked": False, "likes": 1}
    assert as_stranger.delete(url).json() == {"liked": False, "likes": 1}
    assert Like.objects.count() == 1
    assert as_owner.get(f"{V1}/adapters/owner/sums").json()["likes"] == 1


def test_a_detail_takes_a_fixed_number_of_queries(anonymous: Api, owner: User, sums: Adapter, upload: Upload, django_assert_num_queries):
    mix = compose(owner, {sums: 0.1, upload(owner, "more", seed=2): 0.2, upload(owner, "most", seed=3): 0.3})
    commit(mix, {f"{n}.txt": b"x" for n in range(9)})
    social.like(actor=person("fan"), adapter=mix, on=True)
    with django_assert_num_queries(4):  # adapter, tags, files, parents
        anonymous.get(f"{V1}/adapters/owner/mix")


def test_a_gate(as_owner: Api, as_stranger: Api, sums: Adapter) -> None:
    for gated in ("auto", "manual"):
        assert as_owner.json("patch", "/adapters/owner/sums", {"gated": gated}).json()["gated"] == gated
        assert as_stranger.get(f"{V1}/adapters").json()["items"][0]["gated"] == gated
    assert refusal(as_stranger.get(f"{V1}/adapters/owner/sums/files/adapter_config.json")) == (403, "gated")
    assert as_owner.get(f"{V1}/adapters/owner/sums/files/adapter_config.json").status_code == 200
    assert as_owner.json("patch", "/adapters/owner/sums", {"tags": ["a"]}).json()["gated"] == "manual"
    for wrong in ("never", None, True):
        assert refusal(as_owner.json("patch", "/adapters/owner/sums", {"gated": wrong})) == (400, "body-invalid")
    assert as_owner.json("patch", "/adapters/owner/sums", {"gated": ""}).json()["gated"] is None
    assert as_stranger.get(f"{V1}/adapters/owner/sums/files/adapter_config.json").status_code == 200
