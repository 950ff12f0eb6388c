"""Lists: filters, sorting, pages that do not shift, and a fixed number of queries."""

import base64
import itertools
import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hub.models import Adapter, User
from hub.services import adapters, social
from tests import other_hub
from tests.api.conftest import V1, Api, client, order, refusal
from tests.conftest import Upload, person

pytestmark = pytest.mark.django_db
URL = f"{V1}/adapters"


def ids(response) -> list[str]:
    assert response.status_code == 200
    return [item["id"] for item in response.json()["items"]]


def walk(api: Api, url: str) -> list[list[str]]:
    """The ids of every page, following `next`."""
    found = []
    while url:
        page = api.get(url).json()
        found.append([item["id"] for item in page["items"]])
        url = (page["next"] or "").removeprefix("http://testserver")
    return found


@pytest.fixture
def five(owner: User, upload: Upload) -> list[Adapter]:
    return [upload(owner, f"number-{n}", seed=n, tags=("odd",) if n % 2 else ("even",)) for n in range(5)]


def test_it_works(anonymous: Api, sums: Adapter, secret: Adapter):
    found = anonymous.get(URL).json()
    assert found["next"] is None
    (item,) = found["items"]
    assert (item["id"], item["sha"], item["tags"], item["base_model"]) == ("owner/sums", sums.head.sha, ["arithmetic"], "tiny/llama")
    assert not {"card", "files", "facts"} & set(item)


def test_private_ones_are_listed_for_their_owner_alone(as_owner: Api, as_stranger: Api, sums: Adapter, secret: Adapter):
    assert ids(as_owner.get(URL)) == ["owner/secret", "owner/sums"]
    assert ids(as_stranger.get(URL)) == ["owner/sums"]


def test_filters(anonymous: Api, owner: User, friend: User, five, upload: Upload):
    upload(friend, "other", base="other/base", card="# Other\n\nTranslates Latin.\n")
    assert ids(anonymous.get(URL, {"owner": "friend"})) == ["friend/other"]
    assert ids(anonymous.get(URL, {"base_model": "other/base"})) == ["friend/other"]
    assert ids(anonymous.get(URL, {"q": "latin"})) == ["friend/other"]
    assert ids(anonymous.get(URL, {"tag": "odd"})) == ["owner/number-3", "owner/number-1"]
    assert ids(anonymous.get(URL, {"tag": "odd", "q": "number-1"})) == ["owner/number-1"]
    assert ids(anonymous.get(URL, {"made": "composed"})) == []
    assert len(ids(anonymous.get(URL, {"made": "uploaded", "composable": "true"}))) == 6
    assert ids(anonymous.get(URL, {"composable": "false"})) == []
    assert ids(anonymous.get(URL, {"q": "nothing like it"})) == []


def test_sorting(anonymous: Api, five):
    fan = person("fan")
    social.like(actor=fan, adapter=five[2], on=True)
    for client_name in ("a", "b"):
        social.count_download(adapter=five[1], client=client_name)
    assert ids(anonymous.get(URL, {"sort": "recent"}))[0] == "owner/number-4"
    assert ids(anonymous.get(URL, {"sort": "likes"}))[0] == "owner/number-2"
    assert ids(anonymous.get(URL, {"sort": "downloads"}))[0] == "owner/number-1"
    assert ids(anonymous.get(URL, {"sort": "trending"}))[0] == "owner/number-1"


@pytest.mark.parametrize("sort", ["recent", "likes", "downloads", "trending"])
def test_pages_hold_every_adapter_once(anonymous: Api, five, sort: str):
    pages = walk(anonymous, f"{URL}?limit=2&sort={sort}")
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(itertools.chain.from_iterable(pages)) == [f"owner/number-{n}" for n in range(5)]


def test_the_next_page_keeps_the_filters(anonymous: Api, five):
    assert walk(anonymous, f"{URL}?limit=1&tag=odd&q=number") == [["owner/number-3"], ["owner/number-1"]]


def test_what_comes_meanwhile_does_not_shift_a_page(anonymous: Api, owner: User, five, upload: Upload):
    page = anonymous.get(f"{URL}?limit=2").json()
    upload(owner, "newcomer")
    assert ids(anonymous.get(page["next"].removeprefix("http://testserver"))) == ["owner/number-2", "owner/number-1"]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        *(("limit", value, "limit-invalid") for value in ("0", "101", "-1", "x", "1.5", "", "9" * 40, "٣")),
        *(("cursor", value, "cursor-invalid") for value in ("x", "W10", "%00", "bnVsbA", "e30")),
        *(("sort", value, "sort-invalid") for value in ("name", "-likes")),
        ("made", "mixed", "made-invalid"),
        ("composable", "yes", "composable-invalid"),
    ],
)
def test_parameters_that_cannot_be_used(anonymous: Api, sums: Adapter, name: str, value: str, code: str):
    assert refusal(anonymous.get(URL, {name: value})) == (400, code)


FORGED = [0, -1, 10**30, 1.5, "2024-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", True, [], {}, None]


@pytest.mark.parametrize("sort", ["recent", "likes", "trending"])
def test_a_forged_cursor_is_a_page_or_an_error_never_a_fault(anonymous: Api, sums: Adapter, sort: str):
    for value, pk in itertools.product(FORGED, [0, 10**30, "x", None]):
        cursor = base64.urlsafe_b64encode(json.dumps([value, pk]).encode()).decode().rstrip("=")
        assert anonymous.get(URL, {"sort": sort, "cursor": cursor}).status_code in (200, 400), (value, pk)


def test_a_listing_takes_a_fixed_number_of_queries(anonymous: Api, owner: User, five, upload: Upload, django_assert_num_queries):
    with django_assert_num_queries(4):  # the last event, adapters, tags, parents
        anonymous.get(URL)
    for n in range(5, 12):
        upload(owner, f"number-{n}", tags=("a", "b"))
    with django_assert_num_queries(4):
        assert len(ids(anonymous.get(URL))) == 12


def test_compositions_are_listed_to_their_owner_alone(as_owner: Api, as_stranger: Api, anonymous: Api, sums: Adapter):
    made = [as_owner.json("post", "/compositions", order("owner/sums", name=f"mix-{n}")).json()["id"] for n in range(5)]
    as_owner.post(f"{V1}/compositions/{made[1]}/cancel")
    assert walk(as_owner, f"{V1}/compositions?limit=2") == [[made[4], made[3]], [made[2], made[1]], [made[0]]]
    assert walk(as_owner, f"{V1}/compositions?status=cancelled") == [[made[1]]]
    assert walk(as_stranger, f"{V1}/compositions") == [[]]
    assert refusal(anonymous.get(f"{V1}/compositions")) == (401, "login-required")
    assert refusal(as_owner.get(f"{V1}/compositions?status=lost")) == (400, "status-invalid")


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 30, "٣", "0x10"])
def test_a_forged_cursor_of_numbered_lists(as_owner: Api, sums: Adapter, cursor: str):
    for path in ("/compositions", "/adapters/owner/sums/revisions"):
        assert refusal(as_owner.get(V1 + path, {"cursor": cursor})) == (400, "cursor-invalid")


def test_a_list_of_compositions_takes_a_fixed_number_of_queries(owner: User, sums: Adapter, upload: Upload, django_assert_num_queries):
    upload(owner, "more", seed=5)
    api = client(owner)
    for n in range(6):
        assert api.json("post", "/compositions", order("owner/sums", "owner/more", name=f"mix-{n}")).status_code == 202
    with django_assert_num_queries(3):  # token, compositions, modules
        assert len(api.get(f"{V1}/compositions").json()["items"]) == 6


def test_base_models(anonymous: Api, as_owner: Api, owner: User, sums: Adapter, upload: Upload):
    upload(owner, "hidden", base="hidden/base", private=True)
    assert anonymous.get(f"{V1}/base-models").json() == {"items": [{"name": "tiny/llama", "adapters": 1, "hosted": False, "available_at": None}]}
    assert [item["name"] for item in as_owner.get(f"{V1}/base-models").json()["items"]] == ["hidden/base", "tiny/llama"]


def test_empty_adapters_are_listed_for_their_owner_alone(as_owner: Api, anonymous: Api, owner: User):
    adapters.create(actor=owner, name="empty")
    assert ids(as_owner.get(URL)) == ["owner/empty"]
    assert ids(anonymous.get(URL)) == []


def test_a_hosted_base_model(anonymous: Api, owner: User, upload: Upload):
    owner.is_staff = True
    owner.save()
    upload(owner, "base", files={path: data for path, data in other_hub.model().items() if path.endswith((".json", ".safetensors"))})
    assert ids(anonymous.get(URL)) == []
    (row,) = anonymous.get(f"{V1}/base-models").json()["items"]
    assert (row["name"], row["adapters"], row["hosted"]) == ("owner/base", 0, True) and row["available_at"]
    found = anonymous.get(f"{URL}/owner/base").json()
    assert (found["kind"], found["facts"], found["composable"], found["refusal"]) == ("base-model", None, False, "It is a base model.")


def test_a_list_is_made_once_for_all_who_see_the_same(
    anonymous: Api, as_stranger: Api, as_owner: Api, owner: User, sums: Adapter, secret: Adapter, memory: None
):

    def asked(api: Api, url: str) -> tuple[list[str], int]:
        with CaptureQueriesContext(connection) as captured:
            return ids(api.get(url)), len([query for query in captured if "hub_revision" in query["sql"]])

    assert asked(anonymous, URL) == (["owner/sums"], 1)
    assert asked(anonymous, URL) == asked(as_stranger, URL) == (["owner/sums"], 0)
    assert sorted(asked(as_owner, URL)[0]) == ["owner/secret", "owner/sums"]
    assert asked(anonymous, f"{URL}?rank=4") == (["owner/sums"], 1), "another list"
    assert anonymous.get(URL, headers={"Host": "localhost"}).json()["items"][0]["url"] == "http://localhost/owner/sums", "addresses are those of who asks"
    adapters.update(actor=owner, adapter=sums, private=True)
    assert asked(anonymous, URL)[0] == asked(as_stranger, URL)[0] == []
    assert anonymous.get(f"{URL}?sort=nonsense").status_code == anonymous.get(f"{URL}?sort=nonsense").status_code == 400
