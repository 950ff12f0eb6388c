"""Compositions by given weights: submitted without examples, run without a base model, and rebuilt from their recipe."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from compose_worker import tasks
from hub import celery
from hub.errors import HubError
from hub.models import Adapter, Composition, RevisionFile, User
from hub.services import adapters, lifecycle
from tests import make
from tests.conftest import Upload, commit
from tests.services.stage import EXAMPLES, refused, submit

WEIGHTS = {"owner/one": 0.75, "friend/two": -0.5}


def test_no_examples_are_needed(owner: User, modules: list[str]) -> None:
    job = submit(owner, modules, method="linear", method_settings={"weights": WEIGHTS}, examples=[])
    assert job.examples == [] and job.settings["weights"] == WEIGHTS
    assert job.log.get().sentence == "Queued with no examples and 2 adapters."
    assert submit(owner, modules, method="ties", name="scored").examples == EXAMPLES


@pytest.mark.parametrize("method", ["medley", "select", "tune", "cma"])
def test_methods_that_learn_need_examples(owner: User, modules: list[str], method: str) -> None:
    with refused("examples-count", 400):
        submit(owner, modules, method=method, examples=[])


def test_too_few_examples_are_too_few_for_every_method(owner: User, modules: list[str]) -> None:
    with refused("examples-count", 400):
        submit(owner, modules, method="linear", examples=EXAMPLES[:2])


def test_weights_of_adapters_that_do_not_take_part(owner: User, modules: list[str]) -> None:
    with refused("setting-invalid", 400) as caught:
        submit(owner, modules, method="linear", method_settings={"weights": {"owner/three": 1.0}}, examples=[])
    assert "owner/three" in caught.value.message and set(caught.value.fields) == {"settings"}


def test_the_adapters_must_be_named(owner: User, modules: list[str]) -> None:
    with refused("modules-invalid", 400) as caught:
        submit(owner, "auto", method="linear", examples=[])
    assert set(caught.value.fields) == {"modules"} and not Composition.objects.exists()


# The rest runs the worker's task with the real engine.


@pytest.fixture
def worker(transactional_db: Any, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has no base model at all."""
    monkeypatch.setattr(celery, "ring", lambda job_id: None)
    settings.BASE_MODELS_DIR = tmp_path / "none"
    settings.JOB_HEARTBEAT_SECONDS = 60


def verify(*arguments: str) -> str:
    """What the command says."""
    out = io.StringIO()
    call_command("verify_recipe", *arguments, stdout=out)
    return out.getvalue()


def fails(code: int, words: str, *arguments: str) -> str:
    with pytest.raises(CommandError, match=words) as caught:
        verify(*arguments)
    assert caught.value.returncode == code
    return str(caught.value)


@pytest.fixture
def mix(worker: None, owner: User, friend: User, upload: Upload) -> Adapter:
    """A published sum of two adapters."""
    upload(owner, "one")
    upload(friend, "two", rank=2, seed=1)
    job = submit(owner, ["owner/one", "friend/two"], method="linear", method_settings={"weights": WEIGHTS}, examples=[], name="mix")
    assert tasks.run(job.pk) == "succeeded", Composition.objects.get().error_message
    return Adapter.objects.get(name="mix")


def test_it_runs_without_a_base_model(mix: Adapter) -> None:
    job = Composition.objects.get()
    assert (job.verdict, job.scores, job.weights, job.done) == ("mix", {}, WEIGHTS, 0) and job.result.adapter == mix
    assert [(p.repo_id, p.weight) for p in mix.head.parents.order_by("repo_id")] == sorted(WEIGHTS.items())
    assert (mix.composable, mix.base_model, mix.rank, mix.composed) == (True, make.BASE, 6, True)


def test_it_can_be_rebuilt(mix: Adapter) -> None:
    blob = mix.head.files.get(path="adapter_model.safetensors").blob_id
    assert verify("owner/mix") == f"The weights rebuilt from the parents are the published ones, byte for byte (sha256 {blob}), and the config is right.\n"
    assert "byte for byte" in verify("owner/mix", "--revision", mix.head.sha[:10], "--as", "owner")


def test_new_commits_of_parents_do_not_matter(mix: Adapter) -> None:
    commit(Adapter.objects.get(name="one"), make.adapter(seed=8))
    assert "byte for byte" in verify("owner/mix")


def replace(mix: Adapter, path: str, data: bytes) -> None:
    """Commit another file to the mix."""
    adapters.commit(actor=mix.owner, adapter=mix, files=[adapters.Incoming(path, io.BytesIO(data))])


def test_weights_that_were_replaced_differ(mix: Adapter) -> None:
    replace(mix, "adapter_model.safetensors", make.adapter(rank=6, seed=3)["adapter_model.safetensors"])
    assert "were replaced" in fails(1, "^recipe-differs: ", "owner/mix")


def test_another_weight_in_the_recipe_is_found_out(mix: Adapter) -> None:
    recipe = json.loads(adapters.storage.read_text(mix.head.files.get(path="recipe.json").blob_id))
    recipe["parents"][0]["weight"] = 0.8
    replace(mix, "recipe.json", json.dumps(recipe).encode())
    fails(1, "another mix", "owner/mix")


@pytest.mark.parametrize("recipe", [b"[1]", b"{}", b'{"parents": [{}]}', b"no json"])
def test_what_is_no_recipe(mix: Adapter, recipe: bytes) -> None:
    replace(mix, "recipe.json", recipe)
    fails(2, "^recipe-invalid: ", "owner/mix")


def test_a_parent_that_was_deleted(mix: Adapter) -> None:
    Adapter.objects.get(name="two").delete()
    assert "The parent friend/two is not here any more." in fails(2, "^parent-missing: ", "owner/mix")


def test_a_parent_that_became_private(mix: Adapter) -> None:
    Adapter.objects.filter(name="two").update(private=True)
    assert "byte for byte" in verify("owner/mix")  # the operator sees everything
    assert "hidden from owner" in fails(2, "^parent-missing: ", "owner/mix", "--as", "owner")


def test_a_parent_that_was_renamed_is_found(mix: Adapter) -> None:
    two = Adapter.objects.get(name="two")
    two.former_names.create(owner=two.owner, name="two")
    Adapter.objects.filter(pk=two.pk).update(name="renamed")
    assert "byte for byte" in verify("owner/mix")


def test_a_parent_whose_name_is_anothers_now(mix: Adapter, friend: User, upload: Upload) -> None:
    lifecycle.rename(actor=friend, adapter=Adapter.objects.get(name="two"), name="renamed")
    upload(friend, "two", seed=9)
    assert "byte for byte" in verify("owner/mix") and "byte for byte" in verify("owner/mix", "--as", "owner")
    Adapter.objects.filter(name="renamed").update(private=True)
    fails(2, "^parent-missing: .* hidden from owner", "owner/mix", "--as", "owner")


def test_weights_may_be_spelled_as_modules_may(worker: None, owner: User, friend: User, upload: Upload) -> None:
    upload(owner, "one")
    lifecycle.rename(actor=friend, adapter=upload(friend, "two", rank=2, seed=1), name="renamed")
    given = {"method": "linear", "examples": [], "name": "mix"}
    job = submit(owner, ["Owner/ONE", "friend/two"], method_settings={"weights": {"OWNER/one": 0.5, "friend/two": 0.25}}, **given)
    assert job.settings["weights"] == {"owner/one": 0.5, "friend/renamed": 0.25}
    with pytest.raises(HubError, match="two weights for owner/one") as caught:
        submit(owner, ["owner/one"], method_settings={"weights": {"OWNER/one": 0.5, "owner/one": 0.25}}, **given)
    assert caught.value.code == "setting-invalid"


def test_a_parent_without_its_old_revision(mix: Adapter) -> None:
    two = Adapter.objects.get(name="two")
    RevisionFile.objects.filter(revision=two.head).delete()
    assert two.head.sha[:12] in fails(2, "^parent-changed: ", "owner/mix")


def test_what_was_not_composed(mix: Adapter) -> None:
    fails(2, "^recipe-missing: owner/one has no recipe.json", "owner/one")
    fails(2, "^not-found: ", "owner/nothing")
    fails(2, "^not-found: There is no account", "owner/mix", "--as", "nobody")


def test_adapters_of_two_models_of_one_name_fail_with_the_reason(
    worker: None, owner: User, friend: User, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(owner, "one")
    monkeypatch.setitem(make.SHAPES, "q_proj", (48, 48))
    upload(friend, "two", seed=1)
    job = submit(owner, ["owner/one", "friend/two"], method="ties", examples=[])
    assert tasks.run(job.pk) == "failed"
    row = Composition.objects.get()
    assert row.error_code == "module-mismatch" and "friend/two" in row.error_message and not Adapter.objects.filter(name="result").exists()
