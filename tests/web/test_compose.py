"""The compose page: what it starts, what it refuses, and that nothing typed is lost."""

import json
import re
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from compose_worker.engine import catalogue
from hub.models import Adapter, Composition, User
from hub.services import lifecycle
from tests import make
from tests.conftest import Upload, commit
from tests.web.conftest import EXAMPLES, page, submit, text

LINES = "\n".join(json.dumps(row) for row in EXAMPLES)


def order(**more: Any) -> dict[str, Any]:
    """A form with everything in order that `more` does not say."""
    return {"base_model": make.BASE, "name": "result", "how": "auto", "method": "medley", "seed": "0", "text": LINES, "action": "start", **more}


def editor(html: str) -> dict[str, Any]:
    """What the table editor is given."""
    return json.loads(html.split('id="editor-data"')[1].split(">", 1)[1].split("</script>")[0])


def test_it_works(as_owner: Client, sums: Adapter) -> None:
    given = order(description="Add.", private="on", seed="7", **{"medley.budget": "12", "medley.max_rank": "8", "medley.dtype": "float32"})
    response = as_owner.post("/compose", given)
    job = Composition.objects.get()
    assert response["Location"] == f"/compositions/{job.pk}"
    assert (job.name, job.base_model, job.auto, job.private, job.seed, job.description) == ("result", make.BASE, True, True, 7, "Add.")
    assert job.examples == EXAMPLES
    assert (job.settings["budget"], job.settings["max_rank"], job.settings["dtype"]) == (12, 8, "float32")


def test_picked_adapters(as_owner: Client, owner: User, sums: Adapter, upload: Upload) -> None:
    upload(owner, "units", seed=3)
    as_owner.post("/compose", order(how="pick", modules=["owner/units", "owner/sums"]))
    assert list(Composition.objects.get().ingredients.values_list("repo_id", flat=True)) == ["owner/units", "owner/sums"]


def test_given_weights_without_examples(as_owner: Client, owner: User, sums: Adapter, upload: Upload) -> None:
    upload(owner, "units", seed=3)
    given = order(
        method="linear", how="pick", modules=["owner/units", "owner/sums"], text="", **{"linear.weights": "owner/sums 0.5\r\n\r\n owner/units  \u22120.25"}
    )
    assert as_owner.post("/compose", given).status_code == 302
    job = Composition.objects.get()
    assert job.settings["weights"] == {"owner/sums": 0.5, "owner/units": -0.25} and job.examples == []
    again = page(as_owner.get(f"/compose?from={job.pk}"))
    assert "owner/sums 0.5\nowner/units -0.25</textarea>" in again and 'value="linear" data-optional checked' in again
    said = text(as_owner.get(f"/compositions/{job.pk}"))
    assert "No examples, 2 adapters" in said and "owner/sums 0.5, owner/units -0.25" in said


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("owner/sums much", "must be a number"),
        ("owner/sums", "must be a number"),
        ("owner/other 1", "not among the adapters"),
        ("owner/sums 99", "between -10 and 10"),
    ],
)
def test_weights_that_are_none(as_owner: Client, sums: Adapter, weights: str, words: str) -> None:
    response = as_owner.post("/compose", order(method="linear", how="pick", modules=["owner/sums"], text="", **{"linear.weights": weights}))
    assert words in text(response) and f"{weights}</textarea>" in page(response, 400)


def test_given_weights_for_adapters_to_be_found(as_owner: Client, sums: Adapter) -> None:
    assert "takes the adapters that you name" in text(as_owner.post("/compose", order(method="linear", text="")))


def test_settings_of_other_methods_do_not_matter(as_owner: Client, sums: Adapter) -> None:
    assert as_owner.post("/compose", order(method="select", **{"lorahub.bound": "99999", "medley.budget": "x"})).status_code == 302
    assert Composition.objects.get().method == "select"


def test_tab_separated_lines(as_owner: Client, sums: Adapter) -> None:
    as_owner.post("/compose", order(text="\r\n".join(f"{row['input']}\t{row['output']}" for row in EXAMPLES)))
    assert Composition.objects.get().examples == EXAMPLES


def test_a_file_of_examples(as_owner: Client, sums: Adapter) -> None:
    table = "output,input\n" + "\n".join(f"{row['output']},{row['input']}" for row in EXAMPLES)
    as_owner.post("/compose", order(text="", file=SimpleUploadedFile("rows.csv", table.encode())))
    assert Composition.objects.get().examples == EXAMPLES


def test_a_file_is_read_into_the_box(as_owner: Client, sums: Adapter) -> None:
    file = SimpleUploadedFile("rows.jsonl", LINES.encode())
    html = page(as_owner.post("/compose", order(text="one\ttwo", action="read", file=file)))
    assert len(editor(html)["rows"]) == len(EXAMPLES) + 1 and "4 + 4 =" in text(as_owner.post("/compose", order(text=LINES, action="read")))
    assert not Composition.objects.exists()


def test_the_form_lists_methods_and_settings_of_the_catalogue(as_owner: Client, sums: Adapter) -> None:
    html = page(as_owner.get("/compose"))
    for method in catalogue.METHODS:
        assert f'value="{method.name}"' in html
        for setting in method.settings:
            assert f'name="{method.name}.{setting.name}"' in html


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"text": ""}, "there are 0"),
        ({"text": "a\tb"}, "there are 1"),
        ({"text": "\n".join(f"{n}\t{n}" for n in range(101))}, "there are 101"),
        ({"text": LINES + '\n{"input": "x", "output": ""}'}, "Row 7 has no output. Write one, or remove the row."),
        ({"text": LINES + "\nnot json"}, "Row 7 is not an object"),
        ({"text": "[1, 2"}, "begin like a JSON list"),
        ({"name": ""}, "Name it."),
        ({"name": "a b"}, "name has 1 to 96"),
        ({"name": "sums"}, "exists already"),
        ({"how": "pick"}, "Choose at least one."),
        ({"how": "pick", "modules": ["owner/gone"]}, "cannot be used"),
        ({"how": "pick", "modules": ["owner/hush-plan"]}, "is private"),
        ({"method": "odd"}, "Select a valid choice"),
        ({"seed": "-1"}, "Must be a whole number from 0 to 4294967295."),
        ({"medley.budget": "0"}, "Budget: Must be between 1 and 1,000."),
        ({"medley.budget": "many"}, "Budget: Must be a whole number."),
        ({"base_model": "no/base"}, "No adapter here was trained on"),
    ],
)
def test_what_is_refused_keeps_everything_typed(as_owner: Client, sums: Adapter, secret: Adapter, more: dict[str, Any], words: str) -> None:
    given = order(description="A kept sentence.", **more)
    response = as_owner.post("/compose", given)
    html = page(response, 400)
    assert words in text(response) and "This did not start." in html
    assert not Composition.objects.exists()
    assert 'value="A kept sentence."' in html and (f'value="{given["name"]}"' in html or not given["name"])
    if isinstance(more.get("modules"), list) and "hush-plan" in more["modules"][0]:
        assert 'value="owner/hush-plan" checked' in html
    if "medley.budget" in more:
        assert f'name="medley.budget" value="{more["medley.budget"]}"' in html
    assert len(editor(html)["rows"]) == len([line for line in given["text"].splitlines() if line.strip()]) or "[1, 2" in html


def test_all_problems_are_told_at_once(as_owner: Client, sums: Adapter) -> None:
    said = text(as_owner.post("/compose", order(name="a b", seed="x", text=LINES + "\n" + json.dumps({"input": "y", "output": ""}))))
    assert "name has 1 to 96" in said and "Seed: Must be a whole number" in said and "Row 7 has no output" in said


def field_of(html: str, name: str) -> str:
    """The tag of the field called `name`."""
    return re.search(rf'<(?:input|select|textarea)[^>]* name="{re.escape(name)}"[^>]*>', html)[0]


def refusals(html: str) -> list[tuple[str, str]]:
    """Where the lines of the summary lead, and what they say."""
    summary = html.partition('id="refusals"')[2].partition("</ul>")[0]
    return [(anchor, unescape(said)) for anchor, said in re.findall(r'<li><a href="#([^"]+)"[^>]*>(.*?)</a></li>', summary)]


def test_problems_of_every_kind_come_in_one_round(as_owner: Client, sums: Adapter, secret: Adapter) -> None:
    given = order(
        name="sums",
        seed="-5",
        text="a\tb\nc\td\ne\tf",
        how="pick",
        modules=["owner/gone", "owner/sums", "owner/hush-plan"],
        method="medley+tune",
        **{"medley+tune.budget": "0", "medley+tune.learning_rate": "much", "medley.budget": "x"},
    )
    html = page(as_owner.post("/compose", given), 400)
    assert [(anchor, said.partition(":")[0]) for anchor, said in refusals(html)] == [
        ("id_name", "Name of the result"),
        ("id_text", "Examples"),
        ("how-pick", "Adapters"),
        ("medley+tune.budget", "Budget"),
        ("medley+tune.learning_rate", "Learning rate"),
        ("id_seed", "Seed"),
    ]
    said = dict(refusals(html))
    assert "exists already" in said["id_name"] and "there are 3" in said["id_text"] and "Must be a number." in said["medley+tune.learning_rate"]
    assert "'owner/gone' cannot be used" in said["how-pick"] and "owner/hush-plan is private" in said["how-pick"]
    for name, error in (("name", "id_name_error"), ("seed", "id_seed_error"), ("medley+tune.budget", "medley+tune.budget-e"), ("text", "examples-error")):
        tag = field_of(html, name)
        assert 'aria-invalid="true"' in tag and re.search(rf'aria-describedby="[^"]*\b{re.escape(error)}\b', tag), tag
        assert html.count(f'id="{error}"') == 1
    assert "aria-invalid" not in field_of(html, "medley.budget") and "aria-invalid" not in field_of(html, "medley+tune.steps")
    assert '<details class="fold" open>' in html and 'value="much"' in html and not Composition.objects.exists()


def test_every_link_of_the_summary_leads_somewhere(as_owner: Client, sums: Adapter) -> None:
    rows = "\n".join(json.dumps({"input": f"{n}", "output": ""}) for n in range(6))
    for more in ({"method": "odd", "base_model": "", "how": "odd"}, {"text": rows}, {"text": "[1, 2"}, {"method": "linear", "linear.weights": "x y"}):
        html = page(as_owner.post("/compose", order(**more)), 400)
        assert refusals(html), more
        for anchor, _ in refusals(html):
            assert f'id="{anchor}"' in html, (more, anchor)
    assert [said for _, said in refusals(page(as_owner.post("/compose", order(text=rows)), 400))] == [
        *(f"Examples: Row {number} has no output. Write one, or remove the row." for number in (1, 2, 3)),
        "Examples: 3 more rows need mending.",
    ]


def test_weights_of_others_are_told_beside_the_rest(as_owner: Client, sums: Adapter) -> None:
    given = order(name="", method="linear", how="pick", modules=["owner/sums"], text="", **{"linear.weights": "owner/other 1", "linear.max_rank": "999"})
    assert [anchor for anchor, _ in refusals(page(as_owner.post("/compose", given), 400))] == ["id_name", "linear.weights", "linear.max_rank"]


def test_a_file_that_cannot_be_read_leaves_the_text(as_owner: Client, sums: Adapter) -> None:
    for action in ("read", "start"):
        html = page(as_owner.post("/compose", order(text="one\ttwo", name="", action=action, file=SimpleUploadedFile("x.csv", b"\xff\xfe\x00"))), 400)
        assert "one\ttwo</textarea>" in html and [anchor for anchor, _ in refusals(html)] == [*(["id_name"] if action == "start" else []), "id_text"]


def test_a_file_without_rows_keeps_it_from_starting(as_owner: Client, sums: Adapter) -> None:
    response = as_owner.post("/compose", order(file=SimpleUploadedFile("x.csv", b"input,output\n")))
    assert refusals(page(response, 400)) == [("id_text", "Examples: x.csv holds no rows.")] and not Composition.objects.exists()


def test_problems_name_their_rows(as_owner: Client, sums: Adapter) -> None:
    html = page(as_owner.post("/compose", order(text=LINES + "\n" + json.dumps({"input": "", "output": "x"}) + "\n" + json.dumps({"input": "y"}))), 400)
    problems = editor(html)["problems"]
    assert problems == {"6": "Row 7 has no input. Write one, or remove the row.", "7": 'Row 8 has no "output" text.'}
    assert [row["input"] for row in editor(html)["rows"]][-1] == "y"


def test_examples_are_shown_as_text(as_owner: Client, sums: Adapter) -> None:
    html = page(as_owner.post("/compose", order(text=json.dumps({"input": "</script><script>alert(1)</script>", "output": "</textarea><b>"}))), 400)
    assert "<script>alert" not in html and "</textarea><b>" not in html


def test_no_adapters_no_form(as_owner: Client) -> None:
    assert "There is nothing to mix yet" in page(as_owner.get("/compose"))


def test_one_adapter_to_start_with(as_owner: Client, owner: User, upload: Upload, sums: Adapter) -> None:
    upload(owner, "other", base="other/base", seed=4)
    html = page(as_owner.get("/compose?module=owner/other"))
    assert 'value="owner/other" checked' in html and 'value="pick" checked' in html and '<option value="other/base" selected>' in html


def test_run_again(as_owner: Client, owner: User, sums: Adapter) -> None:
    job = submit(owner, "owner/sums", name="again", method="cma", method_settings={"budget": 9}, seed=5, description="Twice.", private=True)
    html = page(as_owner.get(f"/compose?from={job.pk}"))
    assert editor(html)["rows"] == EXAMPLES and 'value="Twice."' in html and 'value="5"' in html
    assert 'value="cma" checked' in html and 'name="cma.budget" value="9"' in html and 'value="owner/sums" checked' in html
    other = page(as_owner.get(f"/compose?from={job.pk}&method=medley%2Btune"))
    assert 'value="medley+tune" checked' in other and 'name="medley+tune.budget" value="9"' in other and editor(other)["rows"] == EXAMPLES
    assert 'value="cma" checked' in page(as_owner.get(f"/compose?from={job.pk}&method=%00nothing"))


def test_run_again_takes_the_same_modules(as_owner: Client, owner: User, sums: Adapter, upload: Upload) -> None:
    for seed, name in enumerate(("units", "gone"), 3):
        upload(owner, name, seed=seed)
    job = submit(owner, "owner/sums", "owner/units", "owner/gone", name="again")
    sha = sums.head.sha
    commit(sums, make.adapter(seed=8))
    lifecycle.rename(actor=owner, adapter=Adapter.objects.get(name="units"), name="metres")
    upload(owner, "units", seed=5)
    lifecycle.delete(actor=owner, adapter=Adapter.objects.get(name="gone"))
    html = page(as_owner.get(f"/compose?from={job.pk}"))
    assert f'value="owner/sums@{sha}" checked' in html and f"At revision {sha[:7]}, not the newest." in html
    assert 'value="owner/metres" checked' in html and 'value="owner/units" checked' not in html
    assert "Left out because they are gone, or closed to you: owner/gone." in html
    as_owner.post("/compose", order(how="pick", modules=[f"owner/sums@{sha}", "owner/metres"], name="once-more"))
    assert Composition.objects.get(name="once-more").ingredients.get(position=0).sha == sha


def test_one_weight_for_an_adapter(as_owner: Client, owner: User, sums: Adapter) -> None:
    given = {"method": "linear", "how": "pick", "modules": ["owner/sums"], "text": ""}
    for weights, words in {
        "owner/sums 1\nowner/sums 2": "There are 2 weights for &#x27;owner/sums&#x27;. Give it one.",
        "owner/sums 99": "The weight of &#x27;owner/sums&#x27; must be between -10 and 10",
        "owner/sums": "The weight of &#x27;owner/sums&#x27; must be a number",
    }.items():
        assert words in page(as_owner.post("/compose", order(**given, **{"linear.weights": weights})), 400)
    as_owner.post("/compose", order(**given, **{"linear.weights": "owner/sums\t0.5"}))
    assert Composition.objects.get().settings["weights"] == {"owner/sums": 0.5}


def test_the_picker(as_owner: Client, owner: User, upload: Upload, sums: Adapter) -> None:
    upload(owner, "dora", use_dora=True, seed=2)
    upload(owner, "elsewhere", base="other/base", seed=3)
    html = page(as_owner.get("/compose/modules", {"base_model": make.BASE}))
    assert "owner/sums" in html and "owner/dora" not in html and "owner/elsewhere" not in html
    kept = page(as_owner.get("/compose/modules", {"base_model": make.BASE, "find": "zzz", "modules": ["owner/sums"]}))
    assert 'value="owner/sums" checked' in kept
    assert "Nothing matches" in page(as_owner.get("/compose/modules", {"base_model": make.BASE, "find": "zzz"}))
    assert "For base" in text(as_owner.get("/compose/modules", {"base_model": make.BASE, "modules": ["owner/elsewhere"]}))


def test_rows_for_the_editor(as_owner: Client) -> None:
    def send(**fields: Any) -> Any:
        return as_owner.post("/compose/rows", fields, headers={"Accept": "application/json"})

    assert send(text="a\tb\n\nc\td").json() == {"rows": [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]}
    assert send(file=SimpleUploadedFile("x.csv", b"input;output\n1;2\n")).json() == {"rows": [{"input": "1", "output": "2"}]}
    many = send(file=SimpleUploadedFile("x.csv", b"1,2\n" * 10_000))
    assert many.status_code == 400 and "10,000 rows" in many.json()["error"]["message"]
    assert send(file=SimpleUploadedFile("x.tsv", b"[3, 1]\t[1, 3]\n")).json() == {"rows": [{"input": "[3, 1]", "output": "[1, 3]"}]}
    for fields, said in (
        ({"text": "input\toutput\n"}, "The text holds no rows."),
        ({"text": ""}, "The text holds no rows."),
        ({"file": SimpleUploadedFile("x.csv", b"")}, "x.csv holds no rows."),
    ):
        refused = send(**fields)
        assert (refused.status_code, refused.json()["error"]["code"], refused.json()["error"]["message"]) == (400, "examples-invalid", said)
    assert "UTF-8" in send(file=SimpleUploadedFile("x.csv", b"\xff\xfe\x00")).json()["error"]["message"]
    assert "larger than 5 MB" in send(file=SimpleUploadedFile("x.csv", b"x" * 5_000_001)).json()["error"]["message"]


def test_the_editor_gets_rows_of_other_kinds_whole(as_owner: Client) -> None:
    lines = ['{"input": 1, "output": 2.50}', '{"input": "a", "output": null}', '{"instruction": "i", "input": "a", "output": "b"}', '{"question": "q"}']
    file = SimpleUploadedFile("x.jsonl", "\n".join(lines).encode())
    assert as_owner.post("/compose/rows", {"file": file}, headers={"Accept": "application/json"}).json() == {
        "rows": [{"input": "1", "output": "2.50"}, {"input": "a", "output": ""}, *({"input": line, "output": ""} for line in lines[2:])]
    }


def test_numbers_of_a_file_are_texts(as_owner: Client, sums: Adapter) -> None:
    lines = "\n".join(f'{{"input": {n}, "output": {n}.50}}' for n in range(6))
    assert as_owner.post("/compose", order(text="", file=SimpleUploadedFile("x.jsonl", lines.encode()))).status_code == 302
    assert Composition.objects.get().examples == [{"input": f"{n}", "output": f"{n}.50"} for n in range(6)]


def test_rows_with_other_keys_are_named_and_kept(as_owner: Client, sums: Adapter) -> None:
    strange = '{"instruction": "i", "input": "a", "output": "b"}'
    html = page(as_owner.post("/compose", order(text=LINES + "\n" + strange)), 400)
    assert "Row 7 has a key" in editor(html)["problems"]["6"] and editor(html)["rows"][-1] == {"input": strange, "output": ""}


@pytest.mark.parametrize(
    ("row", "said"),
    [(r'{"input": "\ud800", "output": "b"}', "Row 7 holds half of a surrogate pair. Remove it."), (r'{"input": "a", "\ud800": "b"}', "Row 7 has a key")],
)
def test_half_of_a_surrogate_pair_is_shown_and_refused(as_owner: Client, sums: Adapter, row: str, said: str) -> None:
    for action, status in (("read", 200), ("start", 400)):
        response = as_owner.post("/compose", order(text="", action=action, file=SimpleUploadedFile("x.jsonl", f"{LINES}\n{row}".encode())))
        assert r"\ud800" in page(response, status)
    assert said in text(response)


def test_only_for_people_with_an_account(anonymous: Client, sums: Adapter) -> None:
    assert anonymous.get("/compose")["Location"] == "/accounts/login/?next=%2Fcompose"
    assert anonymous.post("/compose", order()).status_code == 302
    assert anonymous.post("/compose/rows", {"text": "a\tb"}, headers={"Accept": "application/json"}).status_code == 401
    assert anonymous.get("/compose/modules").status_code == 302
    assert not Composition.objects.exists()


def test_suggestions_with_their_reasons(as_owner: Client, owner: User, upload: Upload, sums: Adapter) -> None:
    upload(owner, "verbs", seed=2, card="# Verbs\n\nPast tense.\n", tags=("grammar",))
    asked = {"base_model": make.BASE, "text": "the past of go\twent", "description": ""}
    said = text(as_owner.post("/compose/modules", asked))
    assert "suggested its card says “past”" in said and said.index("owner/ verbs") < said.index("owner/ sums")
    assert "suggested" not in text(as_owner.post("/compose/modules", {**asked, "find": "verbs"}))
    assert "suggested" not in text(as_owner.post("/compose/modules", {**asked, "text": "[1, 2"}))
    assert "suggested its card says “past”" in text(
        as_owner.post("/compose", order(text=json.dumps({"input": "past", "output": "x"}), action="read", how="pick"))
    )


def test_an_estimate_of_time(as_owner: Client, owner: User, upload: Upload, sums: Adapter) -> None:
    def said(**more: Any) -> str:
        return text(as_owner.post("/compose/estimate", order(**more)))

    assert said(text="") == said(how="pick") == "when there are examples and adapters"
    assert said() == "unknown: nothing of this kind has finished on this hub yet"
    job = submit(owner, "owner/sums", name="before")
    Composition.objects.filter(pk=job.pk).update(status="succeeded", attempts=1, report={"seconds": {"search": 400.0}})
    assert said(how="pick", modules=["owner/sums"]).startswith("5 to 10 minutes Judging by 1 composition that ran here")
    assert "by other methods" in said(method="select", **{"medley.budget": "many"})
    assert "Judging by 1 composition" in text(as_owner.get(f"/compose?from={job.pk}"))


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999", "1e300", "9" * 400, "0", "many", "1e"])
def test_no_estimate_is_made_of_settings_that_are_refused(as_owner: Client, owner: User, sums: Adapter, number: str) -> None:
    job = submit(owner, "owner/sums", name="before")
    Composition.objects.filter(pk=job.pk).update(status="succeeded", attempts=1, report={"seconds": {"search": 400.0}})
    for method, setting in (("medley", "budget"), ("medley+tune", "steps"), ("medley+tune", "learning_rate"), ("medley", "max_rank")):
        given = order(method=method, **{f"{method}.{setting}": number})
        assert text(as_owner.post("/compose/estimate", given)) == "none until the expert settings are right"
        html = page(as_owner.post("/compose", given), 400)
        assert [anchor for anchor, _ in refusals(html)] == [f"{method}.{setting}"] and "none until the expert settings are right" in html
    assert text(as_owner.post("/compose/estimate", order(**{"medley+tune.steps": number}))).startswith("5 to 10 minutes")


def test_an_estimate_for_weights_that_were_given_before(as_owner: Client, owner: User, sums: Adapter) -> None:
    job = submit(owner, "owner/sums", method="linear", method_settings={"weights": {"owner/sums": 0.5}}, examples=[], name="half")
    Composition.objects.filter(pk=job.pk).update(status="succeeded", attempts=1, report={"seconds": {"export": 4.0}})
    assert "Judging by 1 composition" in text(as_owner.get(f"/compose?from={job.pk}"))
    given = order(method="linear", how="pick", modules=["owner/sums"], text="", **{"linear.weights": "owner/sums inf"})
    assert text(as_owner.post("/compose/estimate", given)) == "none until the expert settings are right"
    assert "must be a number" in text(as_owner.post("/compose", given))


def test_links_from_elsewhere(as_owner: Client, owner: User, upload: Upload, sums: Adapter) -> None:
    upload(owner, "units", seed=2)
    upload(owner, "other", base="other/base", seed=4)
    for query in ("modules=owner/sums,owner/units", "modules=owner/sums&modules=owner/units"):
        html = page(as_owner.get(f"/compose?{query}"))
        assert 'value="owner/sums" checked' in html and 'value="owner/units" checked' in html and 'value="pick" checked' in html
    assert '<option value="other/base" selected>' in page(as_owner.get("/compose?base=other/base"))
    assert as_owner.get("/compose?modules=owner/sums,owner/gone").status_code == 404


def test_given_weights_come_back_as_they_were(as_owner: Client, owner: User, sums: Adapter) -> None:
    given = {"owner/sums": 1 / 3}
    job = submit(owner, "owner/sums", method="linear", method_settings={"weights": given}, examples=[], name="third")
    assert f"owner/sums {1 / 3!r}</textarea>" in page(as_owner.get(f"/compose?from={job.pk}"))
