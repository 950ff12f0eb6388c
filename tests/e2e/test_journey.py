"""From signing up to a downloaded adapter, and what others see of it."""

import io
import zipfile
from pathlib import Path

from playwright.sync_api import Route, expect

from hub.models import Adapter, User
from tests import make
from tests.conftest import PASSWORD, Upload
from tests.e2e.conftest import Visit


def test_sign_up_upload_find_download(visit: Visit, folder: Path) -> None:
    one = visit()
    page = one.open("/")
    page.get_by_role("navigation", name="Main", exact=True).get_by_role("link", name="Sign up").click()
    page.get_by_label("User name").fill("newcomer")
    page.get_by_label("E-mail address").fill("new@example.org")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password, once more").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign up").click()
    expect(page.get_by_label("Your account, newcomer")).to_be_visible()

    one.open("/settings/tokens")
    page.get_by_label("Name").fill("laptop")
    page.get_by_role("button", name="Create token").click()
    token = page.locator("#token").inner_text().strip()
    assert token.startswith("mdl_") and page.url.endswith("/settings/tokens")
    answer = one.context.request.get(f"{one.base}/api/v1/base-models", headers={"Authorization": f"Bearer {token}"})
    assert answer.status == 200

    one.open("/upload")
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name="Choose a folder").click()
    choosing.value.set_files(folder)
    expect(page.get_by_text("header is sound")).to_be_visible()
    expect(page.get_by_text("PEFT LORA")).to_be_visible()
    expect(page.get_by_text(".DS_Store")).to_have_count(0)
    expect(page.get_by_label("Name", exact=True)).to_have_value("my-tiny-lora")
    page.get_by_role("button", name="Publish").click()
    page.wait_for_url(one.base + "/newcomer/my-tiny-lora")
    expect(page.get_by_text("Answers tiny questions.").first).to_be_visible()

    page.get_by_label("Search adapters").fill("tiny questions")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="newcomer/my-tiny-lora").click()
    with page.expect_download() as whole:
        page.get_by_role("link", name="Download", exact=False).first.click()
    with zipfile.ZipFile(io.BytesIO(whole.value.path().read_bytes())) as archive:
        assert archive.read("my-tiny-lora/adapter_model.safetensors") == make.adapter()["adapter_model.safetensors"]
    with page.expect_download() as single:
        page.get_by_role("link", name="Download adapter_config.json").click()
    assert single.value.path().read_bytes() == make.adapter()["adapter_config.json"]
    assert Adapter.objects.get().downloads == 1


def test_a_folder_can_be_dropped(visit: Visit, owner: User) -> None:
    one = visit()
    one.enter(owner)
    page = one.open("/upload")
    files = {name: list(data) for name, data in make.adapter().items()}
    page.evaluate(
        """files => {
            const data = new DataTransfer();
            for (const [name, bytes] of Object.entries(files)) data.items.add(new File([new Uint8Array(bytes)], name));
            document.getElementById("drop-zone").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        files,
    )
    expect(page.get_by_text("header is sound")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("dropped")
    page.get_by_role("button", name="Publish").click()
    page.wait_for_url(one.base + "/owner/dropped")


def test_a_pickle_is_named_before_a_byte_is_sent(visit: Visit, owner: User, folder: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04")
    (folder / "cut.safetensors").write_bytes(make.adapter()["adapter_model.safetensors"][:-5])
    one = visit()
    page = one.enter(owner)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    one.open("/upload")
    page.locator("#folder").set_input_files(folder)
    expect(page.get_by_text("can be Python pickles")).to_be_visible()
    expect(page.get_by_text("not a sound safetensors file")).to_be_visible()
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("alert").get_by_text("adapter_model.bin is not accepted")).to_be_visible()
    assert sent == []
    page.get_by_role("button", name="Leave it out: adapter_model.bin").click()
    page.get_by_role("button", name="Leave it out: cut.safetensors").click()
    page.get_by_role("button", name="Remove: adapter_config.json").click()
    expect(page.get_by_text("adapter_config.json is missing")).to_be_visible()
    page.locator("#files").set_input_files(folder / "adapter_config.json")
    page.get_by_role("button", name="Publish").click()
    page.wait_for_url(one.base + "/owner/my-tiny-lora")
    sent = [url for url in sent if not url.endswith("/upload/card")]  # the card's words, for its preview
    assert [url.partition("?")[0].rpartition("/owner/my-tiny-lora")[2] for url in sent] == ["/preupload/main", ".git/info/lfs/objects/batch", "/commit/main"]


def test_a_refused_upload_keeps_what_was_chosen(visit: Visit, owner: User, upload: Upload, folder: Path) -> None:
    upload(owner, "my-tiny-lora", seed=9)
    one = visit()
    one.enter(owner)
    page = one.open("/upload")
    page.locator("#folder").set_input_files(folder)
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("owner/my-tiny-lora exists already")).to_be_visible()
    name = page.get_by_label("Name", exact=True)
    assert name.get_attribute("aria-invalid") == "true"
    name.fill("second")
    page.get_by_role("button", name="Publish").click()
    page.wait_for_url(one.base + "/owner/second")


def test_a_new_revision(visit: Visit, owner: User, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "sums")
    card = tmp_path / "README.md"
    card.write_text("# Sums\n\nNow with a card.\n")
    one = visit()
    one.enter(owner)
    page = one.open("/owner/sums")
    page.get_by_role("link", name="Add a README.md").click()
    page.locator("#files").set_input_files(card)
    page.get_by_role("button", name="Commit to owner/sums").click()
    page.wait_for_url(one.base + "/owner/sums")
    expect(page.locator("#card").get_by_text("Now with a card.")).to_be_visible()
    assert Adapter.objects.get().revisions.count() == 2


def test_files_chosen_before_the_script_is_there(visit: Visit, owner: User, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "sums")
    card = tmp_path / "README.md"
    card.write_text("# Sums\n\nNow with a card.\n")
    one = visit()
    page = one.enter(owner)
    held: list[Route] = []
    page.route("**/js/upload.js", lambda route: held.append(route))
    page.goto(one.base + "/upload?to=owner/sums", wait_until="commit")
    page.locator("#files").set_input_files(card)
    assert len(held) == 1
    held[0].continue_()
    page.get_by_role("button", name="Remove: README.md").wait_for()
    page.get_by_role("button", name="Commit to owner/sums").click()
    page.wait_for_url(one.base + "/owner/sums")
    assert Adapter.objects.get().revisions.count() == 2


def test_upload_without_scripts(visit: Visit, owner: User, folder: Path) -> None:
    one = visit(java_script_enabled=False)
    one.log_in(owner)
    page = one.open("/upload")
    page.get_by_label("Choose the files").set_input_files([path for path in folder.iterdir() if path.name != ".DS_Store"])
    page.get_by_label("Name", exact=True).fill("plain")
    page.get_by_text("Only you").click()
    page.get_by_role("button", name="Publish").click()
    page.wait_for_url(one.base + "/owner/plain")
    assert Adapter.objects.get().private
    page.get_by_role("button", name="Like").click()
    expect(page.get_by_role("button", name="Like")).to_have_attribute("aria-pressed", "true")
    page.locator("summary.avatar").click()
    page.get_by_role("navigation", name="Main", exact=True).get_by_role("button", name="Log out").click()
    expect(page.get_by_role("navigation", name="Main", exact=True).get_by_role("link", name="Log in")).to_be_visible()


def test_a_stranger_sees_nothing_private(visit: Visit, owner: User, stranger: User, upload: Upload) -> None:
    upload(owner, "hush-plan", private=True, card="# Hush\n\nA quiet word.\n")
    upload(owner, "sums", seed=1)
    theirs = visit()
    page = theirs.enter(stranger)
    for path in ("/", "/adapters", "/adapters?q=quiet", "/owner", "/compose", "/owner/hush-plan", "/owner/hush-plan/revisions"):
        theirs.open(path)
        assert "hush-plan" not in page.content().replace("/owner/hush-plan", ""), path
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
    mine = visit()
    mine.enter(owner)
    expect(mine.open("/owner/hush-plan").locator("#card").get_by_text("A quiet word.")).to_be_visible()


def test_filters_work_without_a_reload(visit: Visit, owner: User, friend: User, upload: Upload) -> None:
    upload(owner, "sums", tags=("digits",))
    upload(friend, "verbs", seed=1, tags=("words",))
    one = visit()
    page = one.open("/adapters")
    page.evaluate("window.stayed = true")
    page.locator("#facets").get_by_label("words").check()
    expect(page.get_by_role("link", name="owner/sums")).to_have_count(0)
    expect(page.get_by_role("link", name="friend/verbs")).to_be_visible()
    assert "tag=words" in page.url
    expect(page.locator("#facets").get_by_label("words")).to_be_checked()
    page.get_by_role("searchbox", name="Search adapters").press_sequentially("verb")
    page.wait_for_url("**q=verb**")
    page.get_by_role("searchbox", name="Search adapters").fill("nothing like it")
    expect(page.get_by_text("No adapter matches")).to_be_visible()
    page.get_by_role("searchbox", name="Search adapters").fill("")
    expect(page.get_by_role("link", name="friend/verbs")).to_be_visible()
    page.get_by_label("Sort by").select_option("likes")
    page.wait_for_url("**sort=likes**")
    assert page.evaluate("window.stayed") and "tag=words" in page.url
    page.get_by_role("link", name="Clear all").click()
    expect(page.get_by_role("link", name="owner/sums")).to_be_visible()
    plain = visit(java_script_enabled=False)
    page = plain.open("/adapters")
    page.locator("#facets").get_by_label("words").check()
    page.get_by_role("button", name="Apply filters").click()
    expect(page.get_by_role("link", name="owner/sums")).to_have_count(0)
