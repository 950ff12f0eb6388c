"""Collections with the released client."""

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests.hf.conformance import conforms
from tests.hf.site import Site

HUB = "huggingface_hub 2.4"


def status(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    """The status that the client was answered with."""
    return error.value.response.status_code


@conforms(HUB, "create_collection, get_collection, list_collections, delete_collection", "works", "of adapters and base models; sorted by time alone")
@conforms(HUB, "add_collection_item, update_collection_item, delete_collection_item", "works")
@conforms(HUB, "update_collection_metadata", "works", "title, description and private; a theme or a position is 501")
def test_collections(api: HfApi, outsider: HfApi, anonymous: HfApi, site: Site):
    site.upload("collected")
    site.upload("collected-secretly", seed=1, private=True)
    made = api.create_collection("Arithmetic", description="Small numbers")
    assert made.slug.startswith("owner/arithmetic-") and made.description == "Small numbers" and made.items == [] and not made.private
    assert api.create_collection("Arithmetic", exists_ok=True).slug == made.slug
    for name in ("collected", "collected-secretly"):
        api.add_collection_item(made.slug, f"owner/{name}", "model", note=f"note on {name}")
    again = api.add_collection_item(made.slug, "owner/collected", "model", exists_ok=True)
    assert [(item.item_id, item.note, item.item_type) for item in again.items] == [
        ("owner/collected", "note on collected", "model"),
        ("owner/collected-secretly", "note on collected-secretly", "model"),
    ]
    for other in (outsider, anonymous):
        assert [item.item_id for item in other.get_collection(made.slug).items] == ["owner/collected"]
        (listed,) = other.list_collections(owner="owner", item="models/owner/collected")
        assert listed.slug == made.slug and [item.item_id for item in listed.items] == ["owner/collected"]
    api.update_collection_item(made.slug, again.items[1].item_object_id, position=0, note="first")
    assert next((item.item_id, item.note) for item in api.get_collection(made.slug).items) == ("owner/collected-secretly", "first")
    api.delete_collection_item(made.slug, again.items[1].item_object_id)
    api.delete_collection_item(made.slug, again.items[1].item_object_id, missing_ok=True)
    with pytest.raises(HfHubHTTPError) as error:
        outsider.add_collection_item(made.slug, "owner/collected", "model")
    assert status(error) == 403
    assert api.update_collection_metadata(made.slug, title="Sums", private=True).title == "Sums"
    for other, code in ((outsider, 404), (anonymous, 401)):
        with pytest.raises(HfHubHTTPError) as error:
            other.get_collection(made.slug)
        assert status(error) == code
        assert not list(other.list_collections(owner="owner"))
    for call in (
        lambda: api.update_collection_metadata(made.slug, theme="pink"),
        lambda: api.add_collection_item(made.slug, "owner/data", "dataset"),
        lambda: list(api.list_collections(sort="trending")),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            call()
        assert status(error) == 501
    with pytest.raises(HfHubHTTPError) as error:
        outsider.delete_collection(made.slug)
    assert status(error) == 404
    with pytest.raises(HfHubHTTPError) as error:
        outsider.create_collection("Not mine", namespace="owner")
    assert status(error) == 403
    api.delete_collection(made.slug)
    api.delete_collection(made.slug, missing_ok=True)
