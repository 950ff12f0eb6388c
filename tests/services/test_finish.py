"""Publishing a result and ending its job, both or neither."""

import json
from pathlib import Path
from typing import Any

import pytest

from compose_worker.engine import spec
from hub import celery, storage
from hub.models import Adapter, Blob, Composition, Event, Revision, User
from hub.services import adapters, lifecycle, organizations, runs
from hub.services.runs import LostClaim
from tests import lent, make
from tests.conftest import Upload, commit
from tests.services.stage import at_once, claimed, refused, result, submit, verbs


def now_of(job: Composition) -> Composition:
    """The job as the database has it."""
    return Composition.objects.get(pk=job.pk)


def test_finish_publishes_once(job: Composition, tmp_path: Path) -> None:
    taken = claimed(job)
    outcome = result(tmp_path, {"owner/one": 1.0})
    runs.finish(job=taken, result=outcome, folder=tmp_path)
    with pytest.raises(LostClaim):
        runs.finish(job=taken, result=outcome, folder=tmp_path)
    assert Adapter.objects.filter(name__startswith="result").count() == 1 and verbs().count("composition.succeed") == 1


@pytest.mark.django_db(transaction=True)
def test_two_finishers_one_publishes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(celery, "ring", lambda job_id: None)
    user = User.objects.create_user("acme")
    commit(adapters.create(actor=user, name="one"), make.adapter())
    job = claimed(submit(user, ["acme/one"]))
    outcome = result(tmp_path, {"acme/one": 1.0})

    def finish() -> Composition:
        return runs.finish(job=Composition.objects.select_related("owner").get(pk=job.pk), result=outcome, folder=tmp_path)

    outcomes = at_once(finish, finish)
    assert sorted(type(o).__name__ for o in outcomes) == ["Composition", "LostClaim"], outcomes
    assert sorted(Adapter.objects.values_list("name", flat=True)) == ["one", "result"]


@pytest.mark.parametrize("where", ["write", "advance", "audit"])
def test_finish_is_all_or_nothing(job: Composition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    taken = claimed(job)
    outcome = result(tmp_path, {"owner/one": 1.0})
    counts = [m.objects.count() for m in (Adapter, Revision, Event, Blob)]

    def broken(*args: Any, **more: Any) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(*((runs.audit, "record") if where == "audit" else (adapters, where)), broken)
        with pytest.raises(RuntimeError):
            runs.finish(job=taken, result=outcome, folder=tmp_path)
    row = now_of(job)
    assert (row.status, row.result, row.finished_at, row.weights, row.name) == ("running", None, None, {}, "result")
    assert [m.objects.count() for m in (Adapter, Revision, Event, Blob)] == counts
    assert runs.finish(job=taken, result=outcome, folder=tmp_path).status == "succeeded", "the same worker may try again"


def test_a_full_disk_at_the_end(job: Composition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = claimed(job)
    outcome = result(tmp_path, {"owner/one": 1.0})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage.os, "fsync", full)
        with refused("storage-full", 507):
            runs.finish(job=taken, result=outcome, folder=tmp_path)
    assert now_of(job).status == "running" and not Adapter.objects.filter(name="result").exists()


def test_bytes_are_stored_before_the_database_is_locked(job: Composition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = claimed(job)
    original, seen = storage.put, []

    def put(stream: Any, **more: Any) -> storage.Stored:
        seen.append(now_of(job).status)
        return original(stream, **more)

    monkeypatch.setattr(storage, "put", put)
    runs.finish(job=taken, result=result(tmp_path, {"owner/one": 1.0}), folder=tmp_path)
    assert seen == ["running"] * 4


def test_a_name_taken_meanwhile(job: Composition, owner: User, tmp_path: Path) -> None:
    taken = claimed(job)
    Adapter.objects.create(owner=owner, name="Result")
    Adapter.objects.create(owner=owner, name="result-2")
    done = runs.finish(job=taken, result=result(tmp_path, {"owner/one": 1.0}), folder=tmp_path)
    assert done.name == done.result.adapter.name == "result-3" and done.target_id == "owner/result-3"
    assert "taken meanwhile" in done.summary and "result-3" in done.summary


def test_a_second_name_that_another_job_will_take(job: Composition, owner: User, tmp_path: Path) -> None:
    taken = claimed(job)
    submit(owner, name="result-2")
    Adapter.objects.create(owner=owner, name="result")
    assert runs.finish(job=taken, result=result(tmp_path, {"owner/one": 1.0}), folder=tmp_path).name == "result-3"


def test_card_and_recipe_get_the_name_that_the_result_gets(owner: User, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "one")
    taken = claimed(submit(owner, name="my_mix"))
    Adapter.objects.create(owner=owner, name="my_mix")
    found = result(tmp_path, {"owner/one": 1.0})
    (tmp_path / "README.md").write_text("# owner/my\\_mix\n\nOf owner/one.\n\n```python\nPeftModel.from_pretrained(base, 'owner/my_mix')\n```\n")
    recipe = {"name": "owner/my_mix", **{key: value for key, value in json.loads((tmp_path / "recipe.json").read_text()).items() if key != "name"}}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    done = runs.finish(job=taken, result=found, folder=tmp_path)
    files = {file.path: storage.read_text(file.blob_id) for file in done.result.files.filter(path__in=("README.md", "recipe.json"))}
    assert files["README.md"] == "# owner/my\\_mix-2\n\nOf owner/one.\n\n```python\nPeftModel.from_pretrained(base, 'owner/my_mix-2')\n```\n"
    assert json.loads(files["recipe.json"]) == {**recipe, "name": "owner/my_mix-2"} == done.result.recipe
    assert json.loads(files["recipe.json"])["name"] == done.result.adapter.repo_id


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("is_member", [True, False])
def test_an_organisation_that_gets_another_name_while_its_job_runs(
    owner: User, friend: User, upload: Upload, tmp_path: Path, where: str, is_member: bool
) -> None:
    upload(friend, "one")
    acme = organizations.create(actor=owner, name="acme")
    invited = organizations.invite(actor=owner, organization=acme, username="friend", role="writer")
    organizations.answer(actor=friend, organization=invited.organization, accept=True)
    submit(friend, ["friend/one"], name="my_mix", owner=acme, anywhere=True)
    card = "# {heading}\n\nOf friend/one.\n\n```python\nPeftModel.from_pretrained(base, '{name}')\n```\n"
    written = card.format(heading="acme/my\\_mix", name="acme/my_mix")
    if where == "elsewhere":
        lender = lent.token()
        handed = lent.claim(lender)
        assert handed is not None and handed.job.target_id == "acme/my_mix"
        taken, sent = handed.job, {**lent.files(handed.job), "README.md": written.encode()}
    else:
        taken = claimed(Composition.objects.get())
        found = result(tmp_path, {"friend/one": 1.0})
        (tmp_path / "README.md").write_text(written)
        (tmp_path / "recipe.json").write_text(json.dumps({"name": "acme/my_mix"}))
    for name in ("apex", "zenith"):
        organizations.rename(actor=owner, organization=acme, name=name)
    if not is_member:
        organizations.remove(actor=owner, organization=acme, username="friend")
    done = lent.finish(lender, taken, sent) if where == "elsewhere" else runs.finish(job=taken, result=found, folder=tmp_path)
    now = "zenith" if is_member else "friend"
    files = {file.path: storage.read_text(file.blob_id) for file in done.result.files.filter(path__in=("README.md", "recipe.json"))}
    assert files["README.md"] == card.format(heading=f"{now}/my\\_mix", name=f"{now}/my_mix")
    assert json.loads(files["recipe.json"])["name"] == done.result.recipe["name"] == done.result.adapter.repo_id == done.target_id == f"{now}/my_mix"


def test_a_long_name_taken_meanwhile(owner: User, upload: Upload, tmp_path: Path) -> None:
    upload(owner, "one")
    name = "n" * 96
    taken = claimed(submit(owner, name=name))
    Adapter.objects.create(owner=owner, name=name)
    assert runs.finish(job=taken, result=result(tmp_path, {"owner/one": 1.0}), folder=tmp_path).name == "n" * 94 + "-2"


def test_nothing_helped(job: Composition, tmp_path: Path) -> None:
    outcome = result(tmp_path, {"owner/one": 0.0}, files=(), verdict="nothing", summary="No adapter helps.")
    done = runs.finish(job=claimed(job), result=outcome, folder=tmp_path)
    assert (done.status, done.verdict, done.result, done.summary) == ("succeeded", "nothing", None, "No adapter helps.")
    assert not Adapter.objects.filter(name="result").exists() and verbs()[-1] == "composition.succeed"


def test_a_parent_made_private_meanwhile(job: Composition, owner: User, friend: User, tmp_path: Path) -> None:
    taken = claimed(job)
    adapters.update(actor=friend, adapter=Adapter.objects.get(name="two"), private=True)
    done = runs.finish(job=taken, result=result(tmp_path, {"owner/one": 0.5, "friend/two": 0.5}), folder=tmp_path)
    adapter = done.result.adapter
    assert adapter.private and done.private and "become private" in done.summary
    with refused("private-parents", 409):
        adapters.update(actor=owner, adapter=adapter, private=False)


@pytest.mark.parametrize("how", ["private", "gated"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_parent_that_was_closed_and_deleted(job: Composition, owner: User, friend: User, tmp_path: Path, how: str, when: str) -> None:
    """It cannot be asked any more whether it is for everyone: what others made of it stays theirs."""
    taken, two = claimed(job), Adapter.objects.get(name="two")
    adapters.update(actor=friend, adapter=two, **({"private": True} if how == "private" else {"gated": "manual"}))
    if when == "before":
        lifecycle.delete(actor=friend, adapter=two)
    done = runs.finish(job=taken, result=result(tmp_path, {"owner/one": 0.5, "friend/two": 0.5}), folder=tmp_path)
    if when == "after":
        lifecycle.delete(actor=friend, adapter=two)
    adapter = done.result.adapter
    assert adapter.private
    with refused("closed-parents", 409):
        adapters.update(actor=owner, adapter=adapter, private=False)
    assert all(parent.is_hidden_from(owner) for parent in adapter.head.parents.filter(repo_id="friend/two"))
    lifecycle.restore(actor=friend, adapter=lifecycle.find_deleted(actor=friend, repo_id="friend/two"))
    adapters.update(actor=friend, adapter=Adapter.objects.get(name="two"), **({"private": False} if how == "private" else {"gated": ""}))
    assert not adapters.update(actor=owner, adapter=adapter, private=False).private


def test_an_open_parent_that_was_deleted_opens_and_closes_nothing(job: Composition, friend: User, tmp_path: Path) -> None:
    taken = claimed(job)
    lifecycle.delete(actor=friend, adapter=Adapter.objects.get(name="two"))
    done = runs.finish(job=taken, result=result(tmp_path, {"owner/one": 0.5, "friend/two": 0.5}), folder=tmp_path)
    assert not done.result.adapter.private
    assert not any(parent.is_hidden_from(None) for parent in done.result.parents.all())


def test_an_adapter_made_private_that_the_result_does_not_hold(job: Composition, friend: User, tmp_path: Path) -> None:
    taken = claimed(job)
    adapters.update(actor=friend, adapter=Adapter.objects.get(name="two"), private=True)
    done = runs.finish(job=taken, result=result(tmp_path, {"owner/one": 1.0, "friend/two": 0.0}), folder=tmp_path)
    assert not done.result.adapter.private and done.summary == "The mix helps."


@pytest.mark.parametrize("where", ["score", "weights"])
def test_an_adapter_made_private_that_the_result_only_names(job: Composition, friend: User, tmp_path: Path, where: str) -> None:
    taken = claimed(job)
    adapters.update(actor=friend, adapter=Adapter.objects.get(name="two"), private=True)
    scores = {"best_single": spec.Score(1.0, 0.5, 0.1, 0.9, 6, "friend/two")} if where == "score" else {}
    taken.settings = {"weights": {"owner/one": 1.0, "friend/two": 0.0}} if where == "weights" else taken.settings
    done = runs.finish(job=taken, result=result(tmp_path, {"owner/one": 1.0, "friend/two": 0.0}, scores=scores), folder=tmp_path)
    assert done.result.adapter.private and "adapters that it names has become private" in done.summary


def test_a_parent_deleted_and_made_anew_meanwhile(job: Composition, friend: User, upload: Upload, tmp_path: Path) -> None:
    taken = claimed(job)
    sha = Adapter.objects.get(name="two").head.sha
    lifecycle.delete(actor=friend, adapter=Adapter.objects.get(name="two"))
    lifecycle.purge(actor=friend, adapter=lifecycle.find_deleted(actor=friend, repo_id="friend/two"))
    upload(friend, "two", seed=9)
    done = runs.finish(job=taken, result=result(tmp_path, {"friend/two": 1.0}), folder=tmp_path)
    row = done.result.parents.get()
    assert (row.adapter, row.repo_id, row.sha) == (None, "friend/two", sha), "the new adapter of that name is no parent"


def test_the_owner_is_gone(job: Composition, owner: User, tmp_path: Path) -> None:
    taken = claimed(job)
    owner.delete()
    with pytest.raises(LostClaim):
        runs.finish(job=taken, result=result(tmp_path, {"friend/two": 1.0}), folder=tmp_path)
    assert [a.repo_id for a in Adapter.objects.all()] == ["friend/two"]


def test_the_owner_has_another_name(job: Composition, owner: User, tmp_path: Path) -> None:
    taken = claimed(job)
    User.objects.filter(pk=owner.pk).update(username="renamed")
    done = runs.finish(job=taken, result=result(tmp_path, {"owner/one": 1.0}), folder=tmp_path)
    done = now_of(done)
    assert done.target_id == "renamed/result" and done.result.parents.get().adapter.name == "one"
