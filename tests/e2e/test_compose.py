"""Composing in the browser: the table editor, the picker, the live page."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from compose_worker.engine import spec
from hub.models import Composition, User
from hub.services import runs
from tests.conftest import Upload
from tests.e2e.conftest import Visit
from tests.services.stage import claimed, result
from tests.web.conftest import EXAMPLES, submit


@pytest.mark.parametrize("width", [1280, 390])
def test_it_works(visit: Visit, owner: User, upload: Upload, tmp_path: Path, width: int) -> None:
    upload(owner, "sums")
    upload(owner, "units", seed=1)
    upload(owner, "elsewhere", seed=2, base="other/base")
    table = tmp_path / "rows.csv"
    table.write_text("input,output\n" + "\n".join(f"{row['input']},{row['output']}" for row in EXAMPLES[2:]))
    one = visit(viewport={"width": width, "height": 844})
    one.enter(owner)
    page = one.open("/compose")
    page.get_by_label("Base model").select_option("tiny/llama")
    page.get_by_label("Name of the result").fill("doubles")
    page.get_by_label("Input of row 1").fill(EXAMPLES[0]["input"])
    page.get_by_label("Output of row 1").fill(EXAMPLES[0]["output"])
    page.get_by_label("Input of row 2").fill(EXAMPLES[1]["input"])
    page.get_by_label("Input of row 3").click()
    expect(page.get_by_text("Row 2 has no output. Write one, or remove the row.")).to_be_visible()
    expect(page.get_by_text("1 to mend")).to_be_visible()
    page.get_by_label("Output of row 2").fill(EXAMPLES[1]["output"])
    expect(page.get_by_text("Row 2 has no output")).to_be_hidden()
    page.locator("#id_file").set_input_files(table)
    expect(page.get_by_role("button", name="Start with 6 examples")).to_be_visible()
    expect(page.get_by_text("nothing of this kind has finished on this hub yet")).to_be_visible()

    page.get_by_text("I choose").click()
    page.get_by_label("Search adapters to mix").fill("uni")
    expect(page.get_by_label("Use owner/sums")).to_have_count(0)
    page.get_by_label("Use owner/units").check()
    page.get_by_label("Search adapters to mix").fill("")
    page.get_by_label("Use owner/sums").check()
    expect(page.get_by_label("Use owner/units")).to_be_checked()
    expect(page.get_by_label("Use owner/elsewhere")).to_have_count(0)
    expect(page.get_by_text("2 chosen")).to_be_visible()

    page.get_by_text("Other methods, for comparing").click()
    page.get_by_role("radio", name="Exact mix, blind search").check()
    page.get_by_text("Expert settings").click()
    page.locator("[data-method=cma]").get_by_label("Budget").fill("12")
    expect(page.locator("[data-method=medley]")).to_be_hidden()
    page.get_by_role("button", name="Start with 6 examples").click()
    page.wait_for_url("**/compositions/*")
    job = Composition.objects.get()
    assert job.examples == EXAMPLES and job.settings["budget"] == 12 and job.method == "cma"
    assert set(job.ingredients.values_list("repo_id", flat=True)) == {"owner/sums", "owner/units"}
    expect(page.get_by_role("heading", name="Next in line")).to_be_visible()


def test_a_pasted_sheet_and_repeats(visit: Visit, owner: User, upload: Upload) -> None:
    upload(owner, "sums")
    one = visit()
    one.enter(owner)
    page = one.open("/compose")
    page.get_by_role("button", name="Paste from a sheet").click()
    page.get_by_label("Rows").fill("1 + 1\t2\n2 + 2\t4\n1 + 1\t2")
    page.get_by_role("button", name="Add the rows").click()
    expect(page.get_by_label("Input of row 3")).to_have_value("1 + 1")
    expect(page.get_by_text("Same as row 1.")).to_be_visible()
    page.get_by_role("button", name="Remove row 3").click()
    expect(page.get_by_text("Same as row 1.")).to_have_count(0)
    page.get_by_label("Input of row 3").fill("1 + 1")
    page.get_by_label("Output of row 3").fill("3")
    expect(page.get_by_text("Asks the same as row 1 and wants another answer.")).to_be_visible()
    expect(page.get_by_text("1 contradicts another")).to_be_visible()
    page.get_by_role("button", name="Remove row 3").click()
    expect(page.get_by_text("3 more needed")).to_be_visible()
    page.get_by_role("button", name="Paste from a sheet").click()
    page.get_by_label("Rows").fill("[1, 2")
    page.get_by_role("button", name="Add the rows").click()
    expect(page.get_by_text("begin like a JSON list")).to_be_visible()


def paste(page: Page, label: str, text: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    page.get_by_label(label, exact=True).focus()
    page.keyboard.press("ControlOrMeta+v")


@pytest.mark.parametrize("text", ["def f(x):\n\tif x:\n\t\treturn 1", "def f(x):\n\treturn x", "\treturn x\n\treturn y", "x = 1\t# one\ny = 2", "\t"])
def test_text_with_tabs_is_pasted_into_its_cell(visit: Visit, owner: User, upload: Upload, text: str) -> None:
    upload(owner, "sums")
    one = visit()
    one.enter(owner)
    page = one.open("/compose")
    paste(page, "Output of row 2", text)
    expect(page.get_by_label("Output of row 2")).to_have_value(text)
    expect(page.get_by_label("Output of row 2")).to_be_focused()
    expect(page.get_by_label("Output of row 3")).to_have_value("")
    expect(page.locator("#editor-note")).to_be_empty()


def test_a_table_pasted_into_a_cell(visit: Visit, owner: User, upload: Upload) -> None:
    upload(owner, "sums")
    one = visit()
    one.enter(owner)
    page = one.open("/compose")
    page.get_by_label("Input of row 1").fill("0 + 0")
    page.get_by_label("Output of row 1").fill("0")
    paste(page, "Output of row 2", "1 + 1\t2\r\n\r\n2 + 2\t4\r\n3 + 3\t\r\n")
    expect(page.locator("#counts")).to_contain_text("4 examples")
    expect(page.get_by_label("Input of row 2")).to_have_value("1 + 1")
    expect(page.get_by_label("Input of row 2")).to_be_focused()
    expect(page.get_by_label("Output of row 3")).to_have_value("4")
    page.get_by_role("button", name="Empty the table").click()
    expect(page.get_by_label("Input of row 1")).to_have_value("")
    expect(page.get_by_label("Input of row 1")).to_be_focused()


@pytest.mark.parametrize("width", [1280, 390])
def test_refused_rows_are_told_in_view(visit: Visit, owner: User, upload: Upload, tmp_path: Path, width: int) -> None:
    upload(owner, "sums")
    wide = tmp_path / "wide.csv"
    wide.write_text("1,2,3\n4,5,6\n")
    one = visit(viewport={"width": width, "height": 700})
    one.enter(owner)
    page = one.open("/compose")
    told = page.get_by_role("region", name="Examples").get_by_role("alert")
    paste(page, "Input of row 1", "\n".join(f"{n} + {n}\t{2 * n}" for n in range(40)))
    expect(page.locator("#counts")).to_contain_text("40 examples")
    paste(page, "Input of row 41", "1\t2\t3\n4\t5\t6")
    expect(told).to_contain_text("The table has 3 columns")
    expect(told).to_be_in_viewport(ratio=1)
    expect(page.get_by_label("Input of row 41")).to_have_value("")
    expect(page.get_by_label("Input of row 41")).to_be_focused()
    paste(page, "Input of row 41", "41 + 41\t82")
    expect(page.get_by_label("Output of row 41")).to_have_value("82")
    expect(told).to_be_empty()
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.locator("#id_file").set_input_files(wide)
    expect(told).to_contain_text("The table has 3 columns")
    expect(told).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Paste from a sheet").click()
    page.get_by_label("Rows").fill("42 + 42\t84")
    page.get_by_role("button", name="Add the rows").click()
    expect(page.get_by_label("Output of row 42")).to_have_value("84")
    expect(told).to_be_empty()
    expect(page.get_by_role("button", name="Paste from a sheet")).to_be_focused()


@pytest.mark.parametrize("width", [1280, 390])
def test_long_words_stay_in_their_cells(visit: Visit, owner: User, upload: Upload, width: int) -> None:
    upload(owner, "sums")
    one = visit(viewport={"width": width, "height": 844})
    one.enter(owner)
    page = one.open("/compose")
    rows = [("short", "ok"), ("GATTACA" * 30, f"https://example.org/{'x' * 150}"), ("w" * 8_001, "too long"), ("y" * 40, ""), ("short", "ok")]
    page.get_by_role("button", name="Paste from a sheet").click()
    page.get_by_label("Rows").fill("\n".join(f"{asked}\t{wanted}" for asked, wanted in rows))
    page.get_by_role("button", name="Add the rows").click()
    expect(page.get_by_text("Row 3 has 8,009 characters")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cells = [page.get_by_label(f"{column} of row {row}", exact=True).bounding_box() for row in (1, 2, 3, 4) for column in ("Input", "Output")]
    assert len({round(cell["width"]) for cell in cells}) <= 2 and min(cell["width"] for cell in cells) > 100
    assert cells[2]["height"] > cells[0]["height"] and cells[4]["height"] < 600


def test_a_refused_form_comes_back_whole(visit: Visit, owner: User, upload: Upload) -> None:
    upload(owner, "sums")
    one = visit()
    one.enter(owner)
    page = one.open("/compose")
    for number, row in enumerate(EXAMPLES, 1):
        page.get_by_label(f"Input of row {number}").fill(row["input"])
        if number != 4:
            page.get_by_label(f"Output of row {number}").fill(row["output"])
    page.get_by_label("Name of the result").fill("doubles")
    page.get_by_label("What the task is").fill("Doubling.")
    page.get_by_text("Other methods, for comparing").click()
    page.get_by_role("radio", name="LoraHub, as published").check()
    page.get_by_role("button", name="Start with 6 examples").click()
    expect(page.get_by_text("This did not start.")).to_be_visible()
    expect(page.get_by_label("Name of the result")).to_have_value("doubles")
    expect(page.get_by_label("What the task is")).to_have_value("Doubling.")
    expect(page.get_by_role("radio", name="LoraHub, as published")).to_be_checked()
    expect(page.get_by_label("Input of row 6")).to_have_value(EXAMPLES[5]["input"])
    output = page.get_by_label("Output of row 4")
    assert output.get_attribute("aria-invalid") == "true"
    page.get_by_role("alert").get_by_role("link", name="Row 4 has no output").click()
    expect(output).to_be_focused()
    output.fill(EXAMPLES[3]["output"])
    page.get_by_role("button", name="Start with 6 examples").click()
    page.wait_for_url("**/compositions/*")
    assert Composition.objects.get().examples == EXAMPLES


def test_refusals_lead_to_their_fields(visit: Visit, owner: User, upload: Upload) -> None:
    upload(owner, "sums")
    one = visit()
    one.enter(owner)
    page = one.open("/compose")
    page.get_by_text("Expert settings").click()
    page.locator("[data-method=medley]").get_by_label("Budget").fill("1e")
    page.get_by_label("Seed").fill("-5")
    page.get_by_label("Input of row 1").fill("1 + 1")
    page.get_by_label("Output of row 1").fill("2")
    page.get_by_role("button", name="Start with 1 example").click()
    told = page.get_by_role("alert")
    expect(told.get_by_role("link")).to_have_count(4)
    for link, field in (
        ("Name of the result: Name it.", page.get_by_label("Name of the result")),
        ("Examples: A composition takes 5 to 100", page.get_by_label("Input of row 2")),
        ("Budget: Must be a whole number.", page.locator("[data-method=medley]").get_by_label("Budget")),
        ("Seed: Must be a whole number", page.get_by_label("Seed")),
    ):
        told.get_by_role("link", name=link).click()
        expect(field).to_be_focused()
    expect(page.get_by_label("Seed")).to_have_accessible_description("The same seed gives the same file. Must be a whole number from 0 to 4294967295.")
    expect(page.get_by_label("Seed")).to_have_value("-5")
    expect(page.locator("[data-method=medley]").get_by_label("Budget")).to_have_value("1e")


def fill_rows(page: Page) -> None:
    for number, row in enumerate(EXAMPLES, 1):
        page.get_by_label(f"Input of row {number}").fill(row["input"])
        page.get_by_label(f"Output of row {number}").fill(row["output"])


def go_back(page: Page) -> None:
    """Go back to a page that is made anew: the browser of the tests keeps no pages in memory."""
    page.evaluate("window.stayed = true")
    page.go_back()
    assert not page.evaluate("window.stayed")


@pytest.mark.parametrize("way", ["link", "start"])
def test_back_brings_everything_typed(visit: Visit, owner: User, upload: Upload, way: str) -> None:
    for number, name in enumerate(("sums", "units", "verbs")):
        upload(owner, name, seed=number)
    upload(owner, "elsewhere", seed=3, base="other/base")
    one = visit()
    one.enter(owner)
    page = one.open("/compose?base=other/base")
    page.get_by_label("Base model").select_option("tiny/llama")
    page.get_by_label("Name of the result").fill("doubles")
    page.get_by_label("What the task is").fill("Doubling.")
    page.get_by_label("Keep the result private").check()
    fill_rows(page)
    page.get_by_text("I choose").click()
    for name in ("verbs", "sums"):
        page.get_by_label("Search adapters to mix").fill(name)
        expect(page.locator("#modules [type=checkbox]:not(:checked)")).to_have_count(1)
        page.get_by_label(f"Use owner/{name}").check()
    page.get_by_text("Other methods, for comparing").click()
    page.get_by_role("radio", name="Exact mix, blind search").check()
    page.get_by_text("Expert settings").click()
    page.locator("[data-method=cma]").get_by_label("Budget").fill("12")
    page.locator("[data-method=cma]").get_by_label("Cut by use").check()
    if way == "link":
        page.locator("#main").get_by_role("link", name="How it works").click()
        page.wait_for_url("**/docs/composition")
    else:
        page.get_by_role("button", name="Start with 6 examples").click()
        page.wait_for_url("**/compositions/*")
        Composition.objects.all().delete()
    go_back(page)
    expect(page.get_by_text("2 chosen")).to_be_visible()
    expect(page.locator("#counts")).to_have_text("6 examples")
    for number, row in enumerate(EXAMPLES, 1):
        expect(page.get_by_label(f"Input of row {number}")).to_have_value(row["input"])
        expect(page.get_by_label(f"Output of row {number}")).to_have_value(row["output"])
    expect(page.get_by_label("Name of the result")).to_have_value("doubles")
    expect(page.get_by_label("What the task is")).to_have_value("Doubling.")
    expect(page.get_by_role("radio", name="Exact mix, blind search")).to_be_visible()
    expect(page.locator("[data-method=cma]").get_by_label("Budget")).to_have_value("12")
    expect(page.locator("[data-method=medley]")).to_be_hidden()
    expect(page.locator("[data-sum=method]")).to_have_text("Exact mix, blind search")
    expect(page.get_by_label("Use owner/sums")).to_be_checked()
    expect(page.get_by_label("Use owner/verbs")).to_be_checked()
    expect(page.get_by_label("Use owner/units")).not_to_be_checked()
    page.get_by_role("button", name="Start with 6 examples").click()
    page.wait_for_url("**/compositions/*")
    job = Composition.objects.get()
    assert (job.name, job.description, job.private, job.base_model, job.method) == ("doubles", "Doubling.", True, "tiny/llama", "cma")
    assert job.examples == EXAMPLES and (job.settings["budget"], job.settings["by_use"]) == (12, True)
    assert set(job.ingredients.values_list("repo_id", flat=True)) == {"owner/sums", "owner/verbs"}


def test_back_to_rows_that_another_page_wrote(visit: Visit, owner: User, upload: Upload) -> None:
    upload(owner, "sums")
    job = submit(owner, "owner/sums", name="before")
    one = visit()
    one.enter(owner)
    page = one.open(f"/compose?from={job.pk}")
    page.get_by_role("button", name="Remove row 6").click()
    page.get_by_label("Input of row 1").fill("9 + 9 =")
    expect(page.locator("#counts")).to_have_text("5 examples")
    page.locator("#main").get_by_role("link", name="How it works").click()
    page.wait_for_url("**/docs/composition")
    go_back(page)
    expect(page.get_by_label("Input of row 1")).to_have_value("9 + 9 =")
    expect(page.locator("#counts")).to_have_text("5 examples")


def test_without_scripts(visit: Visit, owner: User, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "sums")
    upload(owner, "units", seed=1)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps(row) for row in EXAMPLES[1:]))
    one = visit(java_script_enabled=False)
    one.enter(owner)
    page = one.open("/compose")
    page.get_by_label("Name of the result").fill("doubles")
    page.get_by_label("One example a line").fill(f"{EXAMPLES[0]['input']}\t")
    page.get_by_text("I choose").click()
    page.get_by_label("Use owner/units").check()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("takes 5 to 100 examples; there are 1").first).to_be_visible()
    expect(page.get_by_label("Use owner/units")).to_be_checked()
    page.get_by_label("One example a line").fill(json.dumps(EXAMPLES[0]))
    page.get_by_label("Or a file").set_input_files(rows)
    page.get_by_role("button", name="Read the file into the box").click()
    assert len(page.get_by_label("One example a line").input_value().splitlines()) == 6
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/compositions/*")
    job = Composition.objects.get()
    assert job.examples == EXAMPLES and list(job.ingredients.values_list("repo_id", flat=True)) == ["owner/units"]
    expect(page.locator("noscript p")).to_be_visible()
    assert "reloads itself every 5 seconds" in page.locator("noscript p").inner_text()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390])
def test_what_is_unfolded_outlives_news(visit: Visit, owner: User, upload: Upload, tmp_path: Path, width: int) -> None:
    names = [f"lora-{n}" for n in range(30)]
    for n, name in enumerate(names):
        upload(owner, name, seed=n)
    job = claimed(submit(owner, *(f"owner/{name}" for name in names)))
    one = visit(viewport={"width": width, "height": 700})
    one.enter(owner)
    page = one.open(f"/compositions/{job.pk}")
    fold, last = page.locator("#pinned"), page.get_by_role("link", name="owner/lora-29")

    def tell(number: int) -> None:
        runs.record(job=job, evaluation=spec.Evaluation(number, "single", (0.0,) * 30, 2.0 + number))
        runs.stage(job=job, name="modules", sentence=f"News {number}.")
        expect(page.get_by_text(f"News {number}.")).to_be_visible()

    tell(0)
    expect(last).to_be_hidden()
    page.get_by_text("30 adapters, as pinned").click()
    last.scroll_into_view_if_needed()
    last.focus()
    tell(1)
    expect(last).to_be_focused()
    page.get_by_role("button", name="Cancel").focus()
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    top = page.evaluate("window.scrollY")
    tell(2)
    expect(last).to_be_visible()
    assert page.evaluate("window.scrollY") == top > 0
    page.get_by_text("30 adapters, as pinned").click()
    expect(page.locator("#pinned-fold")).to_be_focused()
    tell(3)
    expect(last).to_be_hidden()
    expect(page.locator("#pinned-fold")).to_be_focused()
    page.get_by_text("30 adapters, as pinned").click()
    last.focus()
    weights = {f"owner/{name}": 1.0 / 30 for name in names}
    runs.finish(job=job, result=result(tmp_path / "out", weights), folder=tmp_path / "out")
    expect(page.get_by_role("heading", name="Report")).to_be_visible()
    expect(fold).to_have_attribute("open", "")
    expect(last).to_be_focused()


def test_a_live_page_becomes_the_report(visit: Visit, owner: User, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "sums")
    upload(owner, "units", seed=1)
    job = submit(owner, "owner/sums", "owner/units", name="doubles")
    one = visit()
    one.enter(owner)
    page = one.open(f"/compositions/{job.pk}")
    page.evaluate("window.stayed = true")
    expect(page.get_by_role("heading", name="Next in line")).to_be_visible()
    job = claimed(job)
    runs.plan(job=job, total=9)
    runs.stage(job=job, name="search", sentence="Learning the weights.")
    runs.record(job=job, evaluation=spec.Evaluation(0, "base", (0.0, 0.0), 2.31))
    runs.record(job=job, evaluation=spec.Evaluation(1, "single", (1.0, 0.0), 0.94))
    runs.improve(job=job, weights={"owner/sums": 0.9, "owner/units": -0.3}, loss=0.94)
    expect(page.get_by_text("Learning the weights.")).to_be_visible()
    expect(page.get_by_role("img", name="Best loss so far 0.94 after 2 candidates")).to_be_visible()
    expect(page.locator("#say")).to_have_text("Learning weights")
    page.get_by_role("button", name="Cancel").focus()
    runs.record(job=job, evaluation=spec.Evaluation(2, "search", (0.9, -0.3), 0.5))
    expect(page.get_by_role("img", name="Best loss so far 0.50 after 3 candidates")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    runs.finish(job=job, result=result(tmp_path / "out", {"owner/sums": 0.75, "owner/units": -0.25}), folder=tmp_path / "out")
    expect(page.get_by_role("heading", name="Report")).to_be_focused()
    assert page.evaluate("window.stayed"), "the page was not reloaded"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert asked == [], "nothing is asked once it is over"
    page.get_by_role("link", name="Open the adapter").click()
    page.wait_for_url(one.base + "/owner/doubles")
    expect(page.get_by_role("heading", name="Lineage")).to_be_visible()


def test_the_end_of_a_job_takes_no_focus_from_elsewhere(visit: Visit, owner: User, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "sums")
    job = claimed(submit(owner, "owner/sums"))
    one = visit()
    one.enter(owner)
    page = one.open(f"/compositions/{job.pk}")
    page.locator(".crumb").get_by_role("link", name="Compositions").focus()
    runs.finish(job=job, result=result(tmp_path / "out", {"owner/sums": 1.0}), folder=tmp_path / "out")
    expect(page.get_by_role("heading", name="Report")).to_be_visible()
    expect(page.locator(".crumb").get_by_role("link", name="Compositions")).to_be_focused()
