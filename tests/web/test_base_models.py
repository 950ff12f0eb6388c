"""The pages of base models, and that pages of adapters do not show them."""

from pathlib import Path

import pytest
from django.test import Client

from hub.models import Adapter, User
from hub.services import adapters, hosting
from tests import make, other_hub
from tests.conftest import PASSWORD, Upload
from tests.services.stage import incoming
from tests.web.conftest import client, compose, page, text

NAME = "HuggingFaceTB/Tiny"


@pytest.fixture
def hosted(db: None, tmp_path: Path) -> Adapter:
    """A hosted base model."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path, data in other_hub.model().items():
        (folder / path).write_bytes(data)
    return hosting.host(repo_id=NAME, folder=folder)[0].adapter


@pytest.fixture
def as_operator(stranger: User) -> Client:
    stranger.is_staff = True
    stranger.save()
    return client(stranger)


def test_its_page(hosted: Adapter, anonymous: Client, owner: User, upload: Upload) -> None:
    upload(owner, "sums", base=NAME)
    said = text(anonymous.get(f"/{NAME}"))
    assert "This base model is hosted here" in said and "Workers compose adapters on it" in said and "1 adapter for it" in said
    assert "AutoModelForCausalLM.from_pretrained(name)" in said and f'"{NAME}"' in said and "LlamaForCausalLM" in said and "1,000" in said
    assert "A tiny model." in said and "model.safetensors" in said and "Settings" not in said and "mixes" not in said
    assert anonymous.get(f"/{NAME.lower()}")["Location"] == f"/{NAME}"


def test_the_list_of_base_models(hosted: Adapter, anonymous: Client, owner: User, upload: Upload) -> None:
    upload(owner, "sums", base=NAME)
    upload(owner, "other", base="other/base")
    said = text(anonymous.get("/base-models"))
    assert NAME in said and "other/base" in said and "can compose on it" in said and "none has it" in said
    assert f'href="/{NAME}"' in page(anonymous.get("/base-models")) and 'href="/other/base"' not in page(anonymous.get("/base-models"))
    assert 'href="/base-models/other/base"' in page(anonymous.get("/base-models"))
    assert anonymous.get("/HuggingFaceTB")["Location"] == "/base-models"


def test_an_empty_list(anonymous: Client) -> None:
    assert "There are no base models yet" in text(anonymous.get("/base-models"))


def test_pages_of_adapters_leave_it_out(hosted: Adapter, anonymous: Client, as_owner: Client) -> None:
    for address in ("/", "/adapters", "/adapters?q=tiny", "/adapters?owner=HuggingFaceTB"):
        assert f'href="/{NAME}"' not in page(anonymous.get(address)), address
    assert "0 adapters" in text(anonymous.get("/adapters"))
    assert NAME not in page(as_owner.get("/compose"))


def test_who_changes_it(hosted: Adapter, as_owner: Client, as_operator: Client) -> None:
    link = f'href="/{NAME}/settings"'
    assert link not in page(as_owner.get(f"/{NAME}")) and as_owner.get(f"/{NAME}/settings").status_code == 403
    assert link in page(as_operator.get(f"/{NAME}"))
    assert as_operator.post(f"/{NAME}/settings/delete", {"confirm": "Tiny"}).status_code == 302
    assert not Adapter.objects.exists() and "There are no base models yet" in text(as_owner.get("/base-models"))


def test_an_older_revision(hosted: Adapter, anonymous: Client, as_operator: Client) -> None:
    operator = User.objects.get(username="stranger")
    first = hosted.head
    adapters.commit(actor=operator, adapter=hosted, files=incoming({"README.md": b"# Newer words\n"}))
    assert "Newer words" in text(anonymous.get(f"/{NAME}"))
    said = text(anonymous.get(f"/{NAME}?revision={first.sha}"))
    assert "A tiny model." in said and "Newer words" not in said and "Show the newest one" in said


def test_signing_up_under_its_name(hosted: Adapter, anonymous: Client) -> None:
    new = {"username": "HuggingFaceTB", "email": "new@example.org", "password1": PASSWORD, "password2": PASSWORD}
    said = text(anonymous.post("/accounts/signup/", new))
    assert "This hub hosts base models under the name huggingfacetb. Choose another user name." in said
    assert User.objects.count() == 1


def test_nobody_logs_in_to_it(hosted: Adapter, anonymous: Client) -> None:
    for password in ("", "!", PASSWORD):
        assert anonymous.post("/accounts/login/", {"login": "HuggingFaceTB", "password": password}).status_code == 200
    assert "_auth_user_id" not in anonymous.session


def test_what_hangs_on_one(hosted: Adapter, anonymous: Client, as_owner: Client, owner: User, friend: User, upload: Upload) -> None:
    sums, units = upload(owner, "sums", base=NAME, tags=("maths",)), upload(owner, "units", base=NAME, seed=1)
    secret = upload(owner, "hush", base=NAME, seed=2, private=True)
    mix = compose(friend, {sums: 0.7, units: -0.2}, name="mix", files=make.adapter(base=NAME, seed=3))
    compose(owner, {secret: 1.0, sums: 0.1}, name="hushmix", files=make.adapter(base=NAME, seed=4))
    Adapter.objects.filter(name="hushmix").update(private=True)
    said, html = text(anonymous.get(f"/base-models/{NAME}")), page(anonymous.get(f"/base-models/{NAME}"))
    assert "3 adapters for this base model, 1 of them composed here" in said and "maths 1" in said and "hush" not in said
    assert "owner/ sums in 1 mix friend/ mix" in said and f'href="/{NAME}"' in html and f'href="/{mix.repo_id}"' in html
    assert "owner/ hush in 1 mix owner/ hushmix" in text(as_owner.get(f"/base-models/{NAME}"))
    assert f'href="/base-models/{NAME}"' in page(anonymous.get(f"/{NAME}"))
    assert anonymous.get("/base-models/no/such").status_code == 404
