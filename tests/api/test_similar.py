"""Adapters whose updates are alike, for those who may see them."""

import pytest

from compose_worker import tasks
from hub.models import Adapter, User
from tests import make
from tests.api.conftest import V1, Api, client
from tests.conftest import Upload

URL = f"{V1}/adapters/owner/sums/similar"


@pytest.fixture
def alike(friend: User, upload: Upload, sums: Adapter) -> Adapter:
    """Somebody's copy of the sums at half the strength, measured as the sums are."""
    files = make.adapter(lora_alpha=4)
    copy = upload(friend, "copy", files=files, tags=("copied",))
    for adapter in (sums, copy):
        assert tasks.profile(adapter.head.profile_id) == "done"
    return copy


def test_it_works(anonymous: Api, alike: Adapter) -> None:
    said = anonymous.get(URL).json()
    assert said["profile"] == "done"
    [item] = said["items"]
    assert (item["id"], item["similarity"], item["nearly_the_same"], item["tags"]) == ("friend/copy", pytest.approx(1, abs=1e-3), True, ["copied"])


def test_private_ones_are_for_their_owner(anonymous: Api, friend: User, alike: Adapter) -> None:
    Adapter.objects.filter(pk=alike.pk).update(private=True)
    assert anonymous.get(URL).json()["items"] == []
    assert [item["id"] for item in client(friend).get(URL).json()["items"]] == ["friend/copy"]


def test_it_says_what_it_waits_for(anonymous: Api, sums: Adapter, owner: User, upload: Upload) -> None:
    upload(owner, "words", files={"README.md": b"# Words\n"})
    assert anonymous.get(URL).json() == {"profile": "waiting", "items": []}
    assert anonymous.get(f"{V1}/adapters/owner/words/similar").json() == {"profile": "none", "items": []}
    assert anonymous.get(f"{URL}?limit=0").status_code == 400
