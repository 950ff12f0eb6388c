"""The upload page's own upload: in parts, with progress, stopped, cut off and taken up again, refused in the right place."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Page, Request, expect
from pytest_django.fixtures import Settings
from safetensors.numpy import save

from hub import object_store
from hub.models import Adapter, Revision, User
from tests import bucket as s3
from tests.conftest import Upload, commit
from tests.e2e.conftest import Visit, Watched
from tests.hf.proxy import CuttingProxy

LISTEN = """() => new MutationObserver(() => window.heard(document.getElementById("progress-text").textContent))
    .observe(document.getElementById("progress-text"), {childList: true})"""
KEPT = "What has arrived is kept for a few hours"


@pytest.fixture(autouse=True)
def parts(settings: Settings) -> None:
    settings.LFS_PART_BYTES = 5_000_000


@pytest.fixture
def large(folder: Path) -> Path:
    """The folder with 40 MB more."""
    values = np.random.default_rng(0).standard_normal(10_000_000, dtype=np.float32)
    (folder / "more.safetensors").write_bytes(save({"w": values}))
    return folder


@pytest.fixture
def seen(visit: Visit, owner: User) -> Iterator[Watched]:
    """The upload page in front of the owner."""
    one = visit()
    one.enter(owner)
    one.open("/upload")
    yield one


def choose(page: Page, folder: Path) -> None:
    page.locator("#folder").set_input_files(folder)
    expect(page.get_by_text("header is sound").first).to_be_visible()


def puts(page: Page) -> list[str]:
    """The parts that go up from now on, by their numbers, and `file` for a whole file."""
    found: list[str] = []

    def note(request: Request) -> None:
        if request.method == "PUT":
            path = urlsplit(request.url).path
            found.append(path.rpartition("/")[2] if path.startswith("/lfs/part/") else "file")

    page.on("request", note)
    return found


def sums(adapter: Adapter) -> dict[str, str]:
    return {row.path: row.blob_id for row in adapter.head.files.all()}


def of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.name != ".DS_Store"}


def test_large_files_go_in_parts_with_progress(seen: Watched, large: Path) -> None:
    page, heard = seen.page, []
    page.expose_function("heard", lambda text: heard.append(text))
    page.evaluate(LISTEN)
    choose(page, large)
    workers: list[str] = []
    page.on("worker", lambda worker: workers.append(worker.url))
    sent = puts(page)
    page.get_by_label("Name", exact=True).fill("in-parts")
    page.get_by_label("Tags").fill("Large, parts")
    page.get_by_text("Only you").click()
    page.get_by_label("What is in it").fill("All of it")
    page.get_by_role("button", name="Publish").click()
    page.wait_for_url(seen.base + "/owner/in-parts")
    adapter = Adapter.objects.get()
    assert sums(adapter) == of(large) and sorted(sent) == sorted([*"123456789", "file"])
    assert adapter.private and {tag.name for tag in adapter.tags.all()} == {"large", "parts"} and adapter.head.message == "All of it"
    assert any(text.startswith("Reading the files: ") for text in heard) and any(text.startswith("40 MB of 40 MB") for text in heard)
    assert heard[-1] == "All bytes are there. The hub is checking them."
    assert [urlsplit(url).path for url in workers] == ["/static/js/upload_worker.js"]


def test_a_cut_connection_goes_on_where_it_was(visit: Visit, owner: User, large: Path, live_server: Any) -> None:
    with CuttingProxy(live_server.url.replace("localhost", "127.0.0.1"), matches=b"/8 HTTP", after=1_000_000, up=True, times=100) as proxy:
        one = visit()
        one.base = proxy.url
        one.enter(owner)
        page = one.open("/upload")
        choose(page, large)
        page.get_by_role("button", name="Publish").click()
        expect(page.get_by_role("alert")).to_contain_text("The connection broke, and nothing was published. " + KEPT, timeout=30_000)
        assert proxy.cuts >= 3 and not Adapter.objects.exists()
        proxy.times = 0
        one.faults.clear()
        sent = puts(page)
        page.get_by_role("button", name="Continue the upload").click()
        page.wait_for_url(one.base + "/owner/my-tiny-lora")
    assert sums(Adapter.objects.get()) == of(large)
    assert "8" in sent and "file" not in sent and len(sent) < 9


def test_a_stopped_upload_leaves_nothing_and_goes_on(seen: Watched, large: Path) -> None:
    page = seen.page
    choose(page, large)
    waits: list[Any] = []
    page.route("**/lfs/part/*/9", lambda route: waits.append(route))
    page.get_by_role("button", name="Publish").click()
    expect(page.locator("#progress-text")).to_contain_text("40 MB")
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)
    expect(page.get_by_role("progressbar", name="Upload of more.safetensors")).to_be_visible()
    page.wait_for_function("() => document.getElementById('progress-bar').value > 95")
    page.get_by_role("button", name="Stop the upload").click()
    expect(page.get_by_role("alert")).to_contain_text("Stopped, and nothing was published. " + KEPT)
    assert len(waits) == 1 and not Adapter.objects.exists()
    page.unroute_all(behavior="ignoreErrors")
    sent = puts(page)
    page.get_by_role("button", name="Continue the upload").click()
    page.wait_for_url(seen.base + "/owner/my-tiny-lora")
    assert sent == ["9"] and sums(Adapter.objects.get()) == of(large)


@pytest.fixture
def bucket(settings: Settings) -> Iterator[s3.Bucket]:
    """The store of this hub is an empty bucket."""
    server = s3.Bucket()
    with s3.store_of(settings, server):
        yield server
    server.stop()


@pytest.mark.parametrize("reached", [True, False])
def test_files_go_to_the_bucket_if_the_browser_reaches_it(seen: Watched, bucket: s3.Bucket, folder: Path, reached: bool) -> None:
    (folder / "more.safetensors").write_bytes(save({"w": np.zeros(1_500_000, dtype=np.float32)}))
    bucket.let_in(*([seen.base] if reached else []))
    seen.elsewhere = (bucket.url,)
    page = seen.page
    choose(page, folder)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "PUT" else None)
    page.get_by_role("button", name="Publish").click()
    page.wait_for_url(seen.base + "/owner/my-tiny-lora", timeout=120_000)
    assert sums(Adapter.objects.get()) == of(folder)
    here = [url for url in sent if url.startswith(seen.base)]
    assert not here if reached else len(here) == 3, "the weights, and more in two parts"
    names = {object_store.key(sha256) for sha256 in of(folder).values()}
    assert names <= set(bucket.names()), "and they lie there either way"


def test_what_is_there_is_not_sent_again(seen: Watched, owner: User, upload: Upload, folder: Path) -> None:
    page = seen.page
    upload(owner, "same", seed=0)
    sent = puts(page)
    choose(page, folder)
    page.get_by_role("button", name="Publish").click()
    page.wait_for_url(seen.base + "/owner/my-tiny-lora")
    assert sent == [] and sums(Adapter.objects.get(name="my-tiny-lora")) == of(folder)


@pytest.mark.parametrize(
    ("name", "tags", "at", "words"),
    [
        ("a b", "", "Name", "has 1 to 96 letters"),
        ("a--b", "", "Name", "has 1 to 96 letters"),
        ("settings", "", "Name", "reserved"),
        ("taken", "", "Name", "exists already"),
        ("fine", "ok, <b>", "Tags", "not usable"),
    ],
)
def test_errors_stand_at_their_fields_before_a_byte_is_sent(
    seen: Watched, owner: User, upload: Upload, folder: Path, name: str, tags: str, at: str, words: str
) -> None:
    upload(owner, "taken", seed=5)
    page, sent = seen.page, puts(seen.page)
    choose(page, folder)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Tags").fill(tags)
    page.get_by_role("button", name="Publish").click()
    field = page.get_by_label(at, exact=at == "Name")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator(f"#{field.get_attribute('aria-describedby')}")).to_contain_text(words)
    expect(page.get_by_role("button", name="Publish")).to_be_enabled()
    assert sent == [] and Adapter.objects.count() == 1


def test_what_the_hub_refuses_is_said_and_leaves_nothing(seen: Watched, folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: [\n---\n")
    page = seen.page
    choose(page, folder)
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("alert").locator(".error")).to_contain_text("README.md")
    assert not Adapter.objects.exists()
    (folder / "README.md").write_text("# Mended\n")
    page.locator("#files").set_input_files(folder / "README.md")
    page.get_by_role("button", name="Publish").click()
    page.wait_for_url(seen.base + "/owner/my-tiny-lora")


def test_logged_out_meanwhile(seen: Watched, owner: User, folder: Path) -> None:
    page = seen.page
    choose(page, folder)
    seen.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("alert")).to_contain_text("You are not logged in any more")
    assert not Adapter.objects.exists()
    other = seen.context.new_page()
    other.goto(seen.base + "/accounts/login/")
    other.get_by_label("User name or e-mail address").fill(owner.username)
    other.get_by_label("Password", exact=True).fill("correct horse battery")
    other.get_by_role("button", name="Log in").click()
    other.wait_for_url(seen.base + "/")
    page.get_by_role("button", name="Continue the upload").click()
    page.wait_for_url(seen.base + "/owner/my-tiny-lora")


def test_a_revision_leaves_files_out_and_knows_its_parent(visit: Visit, owner: User, upload: Upload, tmp_path: Path) -> None:
    adapter = upload(owner, "sums", card="# Sums\n")
    card = tmp_path / "notes.txt"
    card.write_text("notes")
    one = visit()
    one.enter(owner)
    page = one.open("/upload?to=owner/sums")
    page.get_by_label("Leave out README.md").check()
    page.locator("#files").set_input_files(card)
    page.get_by_label("What is in it").fill("Swap")
    page.get_by_role("button", name="Commit to owner/sums").click()
    page.wait_for_url(one.base + "/owner/sums")
    adapter.refresh_from_db()
    assert set(sums(adapter)) == {"adapter_config.json", "adapter_model.safetensors", "notes.txt"} and adapter.head.message == "Swap"
    one.open("/upload?to=owner/sums")
    commit(adapter, {"other.txt": b"other"})
    page.get_by_label("Leave out notes.txt").check()
    page.get_by_role("button", name="Commit to owner/sums").click()
    expect(page.get_by_role("alert")).to_contain_text("has changed since")
    assert Revision.objects.count() == 3


def test_a_folder_is_understood_before_it_is_sent(seen: Watched, folder: Path, upload: Upload, owner: User) -> None:
    upload(owner, "older", seed=5, tags=("tiny",))
    (folder / "README.md").unlink()
    (folder / "optimizer.pt").write_bytes(b"\x80\x02")
    (folder / "fake.safetensors").write_bytes(b"\x80\x04\x95" + bytes(60))
    page = seen.page
    choose(page, folder)
    expect(page.get_by_role("heading", name="What Medley understood")).to_be_visible()
    facts = page.locator("#understood-facts")
    expect(facts).to_contain_text("tiny/llama")
    expect(facts).to_contain_text("Rank")
    expect(page.get_by_text("This is a Python pickle under another name")).to_be_visible()
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("alert").first).to_contain_text("is not accepted. Leave it out")
    page.get_by_role("button", name="Leave it out: fake.safetensors").click()
    page.get_by_role("button", name="Leave it out: optimizer.pt").click()
    page.get_by_role("button", name="Add the tag tiny").click()
    expect(page.get_by_label("Tags")).to_have_value("tiny")
    page.get_by_label("What it does").fill("Answers tiny questions.")
    page.get_by_label("Licence").select_option("mit")
    page.get_by_text("Preview of the card").click()
    expect(page.locator("#card-html")).to_contain_text("Answers tiny questions.")
    page.get_by_role("button", name="Publish").click()
    page.wait_for_url(seen.base + "/owner/my-tiny-lora")
    adapter = Adapter.objects.get(name="my-tiny-lora")
    assert (adapter.licence, adapter.summary) == ("mit", "Answers tiny questions.") and {tag.name for tag in adapter.tags.all()} == {"tiny"}
    assert set(sums(adapter)) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
