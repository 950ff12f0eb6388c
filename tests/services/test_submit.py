"""Submitting a composition, and every way to get it wrong."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from pytest_django import DjangoCaptureOnCommitCallbacks
from pytest_django.fixtures import Settings

from compose_worker.engine import catalogue
from hub import celery
from hub.models import Adapter, Composition, Event, Ingredient, User
from hub.services import adapters, jobs
from tests import make
from tests.conftest import Upload, commit
from tests.services.stage import EXAMPLES, refused, submit, verbs


def nothing_was_made() -> bool:
    """Whether no job and no event of one is there."""
    return not Composition.objects.exists() and not Ingredient.objects.exists() and "composition.submit" not in verbs()


def test_it_works(owner: User, modules: list[str]) -> None:
    job = submit(owner, modules, description=" Sports. ", seed=7, method_settings={"budget": 12})
    job = Composition.objects.get(pk=job.pk)
    assert (job.status, job.owner, job.name, job.method, job.seed, job.auto, job.private) == ("queued", owner, "result", "medley", 7, False, False)
    assert job.description == "Sports." and job.examples == EXAMPLES and job.base_model == make.BASE
    assert job.settings == {**catalogue.check("medley", {}), "budget": 12}
    heads = {a.repo_id: a.head.sha for a in Adapter.objects.all()}
    assert [(i.position, i.repo_id, i.sha, i.revision.sha) for i in job.ingredients.all()] == [(n, m, heads[m], heads[m]) for n, m in enumerate(modules)]
    event = Event.objects.latest("pk")
    assert (event.verb, event.subject, event.actor) == ("composition.submit", f"composition:{job.pk}", owner)
    assert [line.sentence for line in job.log.all()] == ["Queued with 6 examples and 2 adapters."]


def test_the_bell_rings_after_the_commit(
    owner: User, modules: list[str], monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    rung: list[int] = []
    monkeypatch.setattr(celery, "ring", rung.append)
    with django_capture_on_commit_callbacks(execute=True):
        job = submit(owner, modules)
        assert rung == []
    assert rung == [job.pk]


def test_a_broken_bell_does_not_lose_the_job(
    owner: User, modules: list[str], monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    def broken(job_id: int) -> None:
        raise OSError("no broker")

    monkeypatch.setattr(celery, "ring", broken)
    with django_capture_on_commit_callbacks(execute=True):
        job = submit(owner, modules)
    assert Composition.objects.get().pk == job.pk


def test_a_module_is_pinned_to_the_revision_named(owner: User, modules: list[str]) -> None:
    adapter = Adapter.objects.get(name="one")
    first = adapter.head
    second = commit(adapter, make.adapter(seed=5))
    for number, (ref, wanted) in enumerate(((f"@{first.sha}", first), (f"@{first.short}", first), ("", second), ("@main", second), ("@", second))):
        job = submit(owner, [f"owner/one{ref}"], name=f"result{number}")
        assert job.ingredients.get().revision == wanted


def test_a_pin_holds_when_the_adapter_moves_on(owner: User, modules: list[str]) -> None:
    job = submit(owner, modules)
    adapter = Adapter.objects.get(name="one")
    first = adapter.head
    commit(adapter, make.adapter(seed=5))
    assert job.ingredients.first().revision == first


def test_auto_takes_every_composable_adapter(owner: User, stranger: User, modules: list[str], upload: Upload) -> None:
    upload(stranger, "dora", seed=3, use_dora=True)
    upload(stranger, "hidden", seed=4, private=True)
    upload(stranger, "elsewhere", seed=5, base="other/base")
    upload(stranger, "card", files={"README.md": f"---\nbase_model: {make.BASE}\n---\n# Only words\n".encode()})
    adapters.create(actor=stranger, name="empty")
    Adapter.objects.filter(name="two").update(downloads=9)
    job = submit(owner, "auto")
    assert job.auto and [i.repo_id for i in job.ingredients.all()] == ["friend/two", "owner/one"]


def test_auto_stops_at_the_limit(owner: User, modules: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MAX_AUTO_MODULES", 1)
    assert submit(owner, "auto").ingredients.count() == 1


def test_auto_without_anything_composable(owner: User, upload: Upload) -> None:
    upload(owner, "hidden", private=True)
    with refused("modules-missing", 400):
        submit(owner, "auto")
    assert submit(owner, "auto", private=True).ingredients.count() == 1


def test_own_private_modules_make_a_private_result(owner: User, modules: list[str], upload: Upload) -> None:
    upload(owner, "hidden", private=True, seed=6)
    with refused("module-private", 400):
        submit(owner, [*modules, "owner/hidden"])
    assert nothing_was_made()
    assert submit(owner, [*modules, "owner/hidden"], private=True).ingredients.count() == 3


# Bad input, each by its name in the issue.


def test_nobody_submits_without_logging_in(modules: list[str]) -> None:
    with refused("login-required", 401):
        submit(AnonymousUser(), modules)  # type: ignore[arg-type]
    assert nothing_was_made()


def examples(count: int, **more: Any) -> list[dict[str, Any]]:
    """Good examples, with one changed."""
    return [{"input": f"q{i}", "output": f"a{i}"} for i in range(count - bool(more))] + ([more] if more else [])


@pytest.mark.parametrize("count", [0, 4, 101, 10_000], ids=["no examples", "too few", "too many", "10,000 examples"])
def test_a_wrong_number_of_examples(owner: User, modules: list[str], count: int) -> None:
    with refused("examples-count", 400) as caught:
        submit(owner, modules, examples=examples(count))
    assert "5 to 100" in caught.value.message and "examples" in caught.value.fields
    assert nothing_was_made()


BAD_EXAMPLES = {
    "empty input": {"input": "", "output": "a"},
    "blank input": {"input": " \n", "output": "a"},
    "empty output": {"input": "q", "output": ""},
    "huge": {"input": "q" * 8000, "output": "a"},
    "no output": {"input": "q"},
    "one more key": {"input": "q", "output": "a", "more": "x"},
    "number": {"input": "q", "output": 4},
    "null": {"input": None, "output": "a"},
    "nul": {"input": "q\x00", "output": "a"},
    "half a pair": {"input": "q\ud800", "output": "a"},
}


@pytest.mark.parametrize("bad", BAD_EXAMPLES.values(), ids=BAD_EXAMPLES)
def test_a_bad_example(owner: User, modules: list[str], bad: dict[str, Any]) -> None:
    with refused("examples-invalid", 400) as caught:
        submit(owner, modules, examples=examples(7, **bad))
    assert list(caught.value.fields) == ["examples.7"] and "Row 7" in caught.value.message
    assert nothing_was_made()


def test_every_bad_example_is_named(owner: User, modules: list[str]) -> None:
    with refused("examples-invalid", 400) as caught:
        submit(owner, modules, examples=[{"input": "", "output": "a"}, ["q", "a"], "text", None, 5, *EXAMPLES])
    assert list(caught.value.fields) == [f"examples.{n}" for n in range(1, 6)] and "4 more rows" in caught.value.message


@pytest.mark.parametrize("given", [None, "text", 5, {"input": "q", "output": "a"}])
def test_examples_that_are_no_list(owner: User, modules: list[str], given: Any) -> None:
    with refused("examples-invalid", 400):
        submit(owner, modules, examples=given)


def test_the_largest_examples_that_are_allowed(owner: User, modules: list[str]) -> None:
    assert len(submit(owner, modules, examples=[{"input": "q" * 7999, "output": "a"}] * 100).examples) == 100


@pytest.mark.parametrize("ref", ["owner/nothing", "nobody/one", "", "one", "owner/one@", "owner/one@1234567", "owner/one@%", "owner/one\x00", "owner/\ud800"])
def test_a_module_that_is_not_there(owner: User, modules: list[str], ref: str) -> None:
    if ref == "owner/one@":
        Adapter.objects.filter(name="one").update(head=None)
    with refused("module-not-found", 400) as caught:
        submit(owner, [*modules[1:], ref])
    assert "modules" in caught.value.fields
    assert nothing_was_made()


def test_a_deleted_revision(owner: User, modules: list[str]) -> None:
    adapter = Adapter.objects.get(name="one")
    sha = adapter.head.sha
    adapter.delete()
    with refused("module-not-found", 400):
        submit(owner, [f"owner/one@{sha}", "friend/two"])


def test_a_private_module_of_someone_else(stranger: User, owner: User, modules: list[str], upload: Upload) -> None:
    upload(owner, "hidden", private=True, seed=8)
    with refused("module-not-found", 400):
        submit(stranger, [*modules, "owner/hidden"], private=True)
    assert nothing_was_made()


def test_a_module_for_another_base_model(owner: User, modules: list[str], upload: Upload) -> None:
    upload(owner, "elsewhere", base="other/base", seed=2)
    with refused("module-other-base", 400) as caught:
        submit(owner, [*modules, "owner/elsewhere"])
    assert "other/base" in caught.value.message and make.BASE in caught.value.message
    assert nothing_was_made()


def test_a_module_that_cannot_be_composed(owner: User, modules: list[str], upload: Upload) -> None:
    upload(owner, "dora", use_dora=True, seed=2)
    with refused("module-unsupported", 400) as caught:
        submit(owner, [*modules, "owner/dora"])
    assert "DoRA" in caught.value.message
    assert nothing_was_made()


@pytest.mark.parametrize("again", ["owner/one", "OWNER/One", "owner/one@main"])
def test_the_same_module_twice(owner: User, modules: list[str], again: str) -> None:
    with refused("module-duplicate", 400):
        submit(owner, [*modules, again])


def test_one_module(owner: User, modules: list[str]) -> None:
    assert submit(owner, modules[:1]).ingredients.count() == 1


def test_no_modules(owner: User, modules: list[str]) -> None:
    with refused("modules-missing", 400):
        submit(owner, [])


def test_two_hundred_modules(owner: User, modules: list[str]) -> None:
    with refused("too-many-modules", 400) as caught:
        submit(owner, [f"owner/m{i}" for i in range(200)])
    assert "at most 50" in caught.value.message


@pytest.mark.parametrize("given", ["all", "AUTO", "owner/one", None, 5, {"a": 1}])
def test_modules_that_are_no_list(owner: User, modules: list[str], given: Any) -> None:
    with refused("modules-invalid", 400):
        submit(owner, given)


@pytest.mark.parametrize("given", [[None], [5], [["owner/one"]], [{"id": "owner/one"}], [True]])
def test_modules_that_are_no_texts(owner: User, modules: list[str], given: Any) -> None:
    with refused("module-not-found", 400):
        submit(owner, given)


@pytest.mark.parametrize(("base", "code"), [("", "base-model-missing"), (None, "base-model-missing"), ("no/such", "base-model-unknown")])
def test_a_base_model_that_nobody_has(owner: User, modules: list[str], base: Any, code: str) -> None:
    with refused(code, 400) as caught:
        submit(owner, modules, base_model=base)
    assert "base_model" in caught.value.fields


@pytest.mark.parametrize("base", [make.BASE + "\x00", "\ud800", "x" * 10_000, make.BASE.upper()])
def test_an_odd_base_model(owner: User, modules: list[str], base: str) -> None:
    for given in (modules, "auto"):
        with refused("base-model-unknown", 400):
            submit(owner, given, base_model=base)


@pytest.mark.parametrize(
    ("method", "given", "code"),
    [
        ("magic", {}, "unknown-method"),
        ("", {}, "unknown-method"),
        ("medley", {"temperature": 1}, "unknown-setting"),
        ("medley", {"budget": 0}, "setting-out-of-range"),
        ("medley", {"budget": 1001}, "setting-out-of-range"),
        ("medley", {"budget": 10**400}, "setting-out-of-range"),
        ("medley", {"budget": 1.5}, "setting-invalid"),
        ("medley", {"budget": "40"}, "setting-invalid"),
        ("medley", {"budget": True}, "setting-invalid"),
        ("medley", {"budget": None}, "setting-invalid"),
        ("cma", {"bound": float("nan")}, "setting-invalid"),
        ("cma", {"bound": float("inf")}, "setting-invalid"),
        ("medley", {"dtype": "int8"}, "setting-invalid"),
        ("medley", {"dtype": ["bfloat16"]}, "setting-invalid"),
        ("medley", [("budget", 3)], "setting-invalid"),
        ("medley", [], "setting-invalid"),
    ],
)
def test_a_method_or_setting_that_is_wrong(owner: User, modules: list[str], method: str, given: Any, code: str) -> None:
    with refused(code, 400) as caught:
        submit(owner, modules, method=method, method_settings=given)
    assert list(caught.value.fields) == ["method" if code == "unknown-method" else "settings"]
    assert nothing_was_made()


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, "1", None])
def test_a_seed_that_is_wrong(owner: User, modules: list[str], seed: Any) -> None:
    with refused("seed-invalid", 400):
        submit(owner, modules, seed=seed)


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_seeds_at_the_ends(owner: User, modules: list[str], seed: int) -> None:
    assert Composition.objects.get(pk=submit(owner, modules, seed=seed).pk).seed == seed


@pytest.mark.parametrize("name", ["", "a/b", "a b", "settings", "x" * 97, "a\x00", "-"])
def test_a_name_that_is_refused(owner: User, modules: list[str], name: str) -> None:
    with refused("name-invalid", 400):
        submit(owner, modules, name=name)


@pytest.mark.parametrize("name", ["one", "ONE"])
def test_a_name_that_exists(owner: User, modules: list[str], name: str) -> None:
    with refused("name-taken", 409) as caught:
        submit(owner, modules, name=name)
    assert caught.value.message == caught.value.fields["name"] == f"owner/{name} exists already. Choose another name."
    assert nothing_was_made()


def test_a_name_that_another_job_will_take(owner: User, friend: User, modules: list[str]) -> None:
    first = submit(owner, modules)
    with refused("name-taken", 400) as caught:
        submit(owner, modules, name="Result")
    assert caught.value.message == "A composition that waits or runs will become owner/Result. Choose another name."
    assert submit(friend, modules).name == first.name
    jobs.cancel(actor=owner, job=first)
    assert submit(owner, modules).pk != first.pk


def test_too_many_jobs(owner: User, friend: User, modules: list[str], settings: Settings) -> None:
    settings.JOB_MAX_ACTIVE = 2
    first = submit(owner, modules, name="r1")
    submit(owner, modules, name="r2")
    with refused("too-many-jobs", 429):
        submit(owner, modules, name="r3")
    submit(friend, modules)
    jobs.cancel(actor=owner, job=first)
    submit(owner, modules, name="r3")


def test_all_that_would_be_refused(owner: User, modules: list[str], upload: Upload) -> None:
    def told(**more: Any) -> dict[str, str]:
        given = {"base_model": make.BASE, "modules": modules, "examples": EXAMPLES, "name": "free", "method": "medley", "method_settings": {}}
        return jobs.problems(actor=owner, **{**given, **more})

    assert told() == told(modules="auto") == told(base_model=None) == told(modules=None) == told(examples=None) == told(name=None) == told(method=None) == {}
    submit(owner, modules)
    upload(owner, "hidden", seed=4, private=True)
    found = told(
        name="Result",
        examples=EXAMPLES[:3],
        modules=["owner/gone", "owner/one", "owner/gone", "owner/hidden"],
        method_settings={"budget": 0, "max_rank": "x", "dtype": "float32"},
        private=True,
        anywhere=True,
    )
    assert list(found) == ["settings.budget", "settings.max_rank", "examples", "name", "anywhere", "modules"]
    assert found["name"].startswith("A composition that waits or runs") and told(name="One")["name"].startswith("owner/One exists already.")
    assert found["modules"].count("'owner/gone'") == 1 and "owner/hidden is private, so lent machines do not get it" in found["modules"]
    assert "listed twice" in told(modules=["owner/one", "owner/one"])["modules"] and "Choose at least one" in told(modules=[])["modules"]
    assert list(told(modules=modules, base_model="no/base", examples=[*EXAMPLES, {"input": "x"}])) == ["examples.7", "base_model"]
    assert "not among the adapters" in told(method="linear", method_settings={"weights": {"owner/other": 1}})["settings.weights"]
    assert Composition.objects.count() == 1


def test_long_and_odd_descriptions_are_kept_as_far_as_they_fit(owner: User, modules: list[str]) -> None:
    job = submit(owner, modules, description="a\x00b\ud800c " + "\U0001f600" * 2000)
    job.refresh_from_db()
    assert job.description.startswith("abc \U0001f600") and len(job.description) == 1000
