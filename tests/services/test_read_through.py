"""Base models of another hub, fetched for those who ask here: what is asked for, what is kept, and what happens when that hub fails."""

import io
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from pytest_django.fixtures import Settings

from hub.models import Adapter, BaseModel, Blob, Pending, User
from hub.services import accounts, adapters, fetching, hosted, read_through, uploads
from tests import make, other_hub
from tests.conftest import PASSWORD, Upload, commit
from tests.other_hub import REPO, SHA, OtherHub
from tests.services.stage import at_once, refused

pytestmark = pytest.mark.django_db(transaction=True)
WEIGHTS = f"/{REPO}/resolve/main/model.safetensors"


@pytest.fixture
def other(settings: Settings) -> Iterator[OtherHub]:
    """Another hub, some of whose models are read through."""
    with other_hub.running() as hub:
        settings.READ_THROUGH, settings.READ_THROUGH_MODELS, settings.READ_THROUGH_SECONDS = hub.url, ["HuggingFaceTB/*", "Qwen/Small"], 1.0
        yield hub


def get(path: str, **headers: str) -> tuple[int, bytes, Any]:
    """What an anonymous client gets: status, all of the body, headers."""
    answer = Client(headers=headers).get(path)
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer.status_code, body, answer.headers


def settled() -> None:
    """Wait until no file is under way."""
    for thread in threading.enumerate():
        if thread.name.startswith("fetch-"):
            thread.join(20)


def test_it_works(other: OtherHub) -> None:
    status, _, headers = get(f"/api/models/{REPO}")
    assert status == 200 and other.paths("model.safetensors") == []
    found = adapters.find(actor=AnonymousUser(), repo_id=REPO)
    assert found.is_base_model and found.head and found.head.sha == SHA
    assert BaseModel.objects.get(name=REPO).available_at is None and hosted.folder(REPO) is None
    files = other.models[REPO]
    status, body, headers = get(WEIGHTS)
    assert (status, body, headers["X-Repo-Commit"]) == (200, files["model.safetensors"], SHA)
    settled()
    kept = {row.path: row.blob_id for row in found.head.files.all()}
    assert sorted(kept) == ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer.model"], "no pickles, no scripts"
    assert not Pending.objects.exists() and BaseModel.objects.get(name=REPO).available_at and hosted.folder(REPO)
    asked = len(other.asked)
    assert get(WEIGHTS)[1] == files["model.safetensors"] and get(f"/api/models/{REPO}/tree/main")[0] == 200
    assert len(other.asked) == asked, "what is here is not asked for again"


def test_off_by_default(other: OtherHub, settings: Settings) -> None:
    settings.READ_THROUGH = ""
    assert get(f"/api/models/{REPO}")[0] == 401 and not other.asked


@pytest.mark.parametrize("repo_id", ["Other/Tiny", "Qwen/Large", "HuggingFaceTB/two..dots", "HuggingFaceTB/-x", "HuggingFaceTB"])
def test_what_is_not_listed_is_not_asked_for(other: OtherHub, repo_id: str) -> None:
    assert get(f"/api/models/{repo_id}")[0] in (401, 404) and not other.asked


def test_nobodys_token_is_sent(other: OtherHub, owner: User, settings: Settings) -> None:
    _, token = accounts.create_token(actor=owner, name="t", scope="read")
    assert get(f"/api/models/{REPO}", Authorization=f"Bearer {token}")[0] == 200
    assert get(WEIGHTS, Authorization=f"Bearer {token}")[0] == 200
    assert other.asked and not any("authorization" in map(str.lower, sent) or token in str(sent) for _, sent in other.asked)
    settled()
    settings.READ_THROUGH_TOKEN = "operators-own"
    other.models["Qwen/Small"] = other_hub.model()
    get("/api/models/Qwen/Small", Authorization=f"Bearer {token}")
    assert {sent.get("Authorization") for path, sent in other.asked if "Qwen" in path} == {"Bearer operators-own"}


def test_names_of_ours_are_never_asked_for(other: OtherHub, owner: User, upload: Upload, settings: Settings) -> None:
    """Under an account's name nothing is: not what is there, not what is hidden, not what is missing."""
    settings.READ_THROUGH_MODELS = ["owner/*"]
    upload(owner, "hidden", private=True)
    other.models |= {"owner/hidden": other_hub.model(), "owner/missing": other_hub.model()}
    answers = [get(f"/api/models/owner/{name}") for name in ("hidden", "missing")]
    assert answers[0][:2] == answers[1][:2] and answers[0][0] == 401 and not other.asked


def test_nobody_signs_up_under_a_listed_owner(other: OtherHub, settings: Settings) -> None:
    for name in ("qwen", "huggingfacetb"):
        with refused("name-taken", 409):
            accounts.create_user(username=name, email="a@example.org", password=PASSWORD)
    settings.READ_THROUGH = ""
    accounts.create_user(username="qwen", email="a@example.org", password=PASSWORD)


def test_only_whole_open_models(other: OtherHub) -> None:
    for name, change in {"Private": {"private": True}, "Gated": {"gated": "manual"}}.items():
        other.models[f"HuggingFaceTB/{name}"] = other_hub.model()
        other.listing = lambda found, change=change: {**found, **change}
        assert get(f"/api/models/HuggingFaceTB/{name}")[0] == 401
    other.listing = lambda found: found
    other.models |= {"HuggingFaceTB/Lora": {**make.adapter()}, "HuggingFaceTB/Both": {**other_hub.model(), **make.adapter()}}
    assert get("/api/models/HuggingFaceTB/Lora")[0] == get("/api/models/HuggingFaceTB/Both")[0] == 401, "adapters are not read through"
    assert not Adapter.objects.exists() and not User.objects.exists()


def test_what_is_missing_is_asked_for_once_a_minute(other: OtherHub) -> None:
    assert [get("/api/models/HuggingFaceTB/None")[0] for _ in range(3)] == [401] * 3
    assert len(other.asked) == 1


def test_another_commit_is_read_through_by_its_sha(other: OtherHub) -> None:
    get(f"/api/models/{REPO}")
    old = other.models[REPO]
    other.models[REPO], other.sha = other_hub.model(seed=5), "b" * 40
    assert get(f"/api/models/{REPO}")[1].count(SHA.encode()) == 1, "main stays at the commit that was taken in"
    status, body, headers = get(f"/{REPO}/resolve/{'b' * 40}/model.safetensors")
    assert (status, body, headers["X-Repo-Commit"]) == (200, other.models[REPO]["model.safetensors"], "b" * 40)
    assert body != old["model.safetensors"] and Adapter.objects.get().head.sha == SHA
    assert get(f"/api/models/{REPO}/revision/{'c' * 40}")[0] == 404 and get(f"/api/models/{REPO}/revision/dev")[0] == 404
    settled()


def test_readers_at_once_ask_once(other: OtherHub) -> None:
    other.silence = 0.2
    answers = at_once(*[lambda: get(WEIGHTS)] * 4)
    assert {answer[:2] for answer in answers} == {(200, other.models[REPO]["model.safetensors"])}
    assert len(other.paths("/api/models")) == 1 and len(other.paths("model.safetensors")) == 1
    settled()


def test_a_reader_follows_while_the_bytes_arrive(other: OtherHub) -> None:
    other.models[REPO] = other_hub.model(size=500_000)
    weights, other.gate = other.models[REPO]["model.safetensors"], threading.Event()
    row = adapters.find(actor=AnonymousUser(), repo_id=REPO) if read_through.take_in(REPO) else None
    assert row and row.head
    blob = row.head.files.get(path="model.safetensors").blob
    with fetching.open_blob(blob, whole=True) as stream:
        first = stream.read(100_000)
        assert first and weights.startswith(first) and Pending.objects.exists(), "half of it is still on its way"
        other.gate.set()
        rest = b"".join(iter(lambda: stream.read(1 << 16), b""))
    assert first + rest == weights
    settled()


def test_a_part_of_a_file_waits_for_all_of_it(other: OtherHub) -> None:
    """Bytes that were not verified may only go to those who cannot finish without the verified end."""
    other.models[REPO] = other_hub.model(size=500_000)
    other.gate = threading.Event()
    threading.Timer(0.3, other.gate.set).start()
    status, body, _ = get(WEIGHTS, Range="bytes=0-99")
    assert status == 206 and body == other.models[REPO]["model.safetensors"][:100] and other.gate.is_set()
    settled()


def test_a_part_that_takes_too_long(other: OtherHub, settings: Settings) -> None:
    settings.READ_THROUGH_SECONDS = 0.3
    other.gate = threading.Event()
    status, body, headers = get(WEIGHTS, Range="bytes=0-99")
    assert status == 503 and headers["X-Error-Code"] == "upstream-slow" and headers["Retry-After"] and b"Ask again" in body
    other.gate.set()
    settled()


def test_bytes_that_are_still_there_cannot_be_claimed(other: OtherHub, owner: User) -> None:
    get(f"/api/models/{REPO}")
    data = other.models[REPO]["model.safetensors"]
    blob = Blob.objects.get(pending__isnull=False)
    assert uploads.owned(user=owner, sha256=blob.sha256) is None
    adapter = adapters.create(actor=owner, name="mine")
    with refused("object-missing", 400):
        adapters.commit(actor=owner, adapter=adapter, files=[adapters.Known("x.safetensors", blob.sha256, blob.size)])
    uploads.receive(user=owner, stream=io.BytesIO(data), sha256=blob.sha256, size=blob.size)
    adapters.commit(actor=owner, adapter=adapter, files=[adapters.Known("x.safetensors", blob.sha256, blob.size)])
    assert get(WEIGHTS)[1] == data and not other.paths("model.safetensors"), "and what somebody sent need not be fetched"


def test_a_zip_does_not_wait_for_the_other_hub(other: OtherHub) -> None:
    get(f"/api/models/{REPO}")
    assert Client().get(f"/{REPO}/zip").status_code == 409
    get(WEIGHTS)
    settled()
    assert Client().get(f"/{REPO}/zip").status_code == 200


def test_an_operator_commits_on_top(other: OtherHub, owner: User) -> None:
    get(f"/api/models/{REPO}")
    owner.is_staff = True
    owner.save()
    adapter = Adapter.objects.get()
    revision = adapters.commit(actor=owner, adapter=adapter, files=[adapters.Incoming("README.md", io.BytesIO(b"# Ours\n"))])
    assert revision.parent and revision.parent.sha == SHA and get(WEIGHTS)[1] == other.models[REPO]["model.safetensors"]
    settled()


def test_writing_asks_for_nothing(other: OtherHub, owner: User) -> None:
    _, token = accounts.create_token(actor=owner, name="t", scope="write")
    asker = Client(headers={"Authorization": f"Bearer {token}"})
    assert asker.post(f"/api/models/{REPO}/commit/main", b"", "application/x-ndjson").status_code == 404
    body = {"name": REPO.partition("/")[2], "organization": REPO.partition("/")[0], "type": "model"}
    assert asker.post("/api/repos/create", body, "application/json").status_code == 403
    commit(adapters.create(actor=owner, name="Tiny"), make.adapter())
    assert not other.asked
