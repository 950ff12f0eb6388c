"""Creating, changing and deleting adapters."""

import pytest
from django.contrib.auth.models import AnonymousUser

from hub.errors import HubError
from hub.models import Adapter, Blob, Composition, Event, Parent, Revision, RevisionFile, Tag, User
from hub.services import adapters, lifecycle, social
from tests import make
from tests.conftest import Upload, commit
from tests.services.stage import at_once, claimed, incoming, refused, submit, verbs


def test_it_works(owner: User) -> None:
    adapter = adapters.create(actor=owner, name="My-lora_1.5", private=True, tags=["Text  Generation", "nlp", "NLP", " "])
    assert adapter.repo_id == "owner/My-lora_1.5" and adapter.private and adapter.head is None
    assert sorted(t.name for t in adapter.tags.all()) == ["nlp", "text generation"]
    assert verbs()[-1] == "adapter.create"
    assert Event.objects.latest("pk").subject == "owner/My-lora_1.5"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "-a", ".a", "a.", "a-", "a--b", "a..b", "a/b", "a b", "a\n", "a\x00", "\u00e4", "a" * 97, "a.git", "a.GIT", "a.ipynb", "tree", "Resolve"],
)
def test_a_name_that_is_refused(owner: User, name: str) -> None:
    with refused("name-invalid", 400) as caught:
        adapters.create(actor=owner, name=name)
    assert "name" in caught.value.fields
    assert not Adapter.objects.exists()


@pytest.mark.parametrize("name", ["mine", "MINE"])
def test_a_name_that_exists(owner: User, name: str) -> None:
    adapters.create(actor=owner, name="mine")
    with refused("name-taken", 409) as caught:
        adapters.create(actor=owner, name=name)
    assert caught.value.message == f"owner/{name} exists already. Choose another name, or add a revision to that adapter."
    assert verbs().count("adapter.create") == 1


def test_the_same_name_of_another_owner(owner: User, friend: User) -> None:
    adapters.create(actor=friend, name="mine", private=True)
    assert adapters.create(actor=owner, name="mine").repo_id == "owner/mine"


def test_a_name_that_a_composition_will_take(owner: User, upload: Upload) -> None:
    upload(owner, "module")
    submit(owner, name="result")
    module = adapters.find(actor=owner, repo_id="owner/module")
    for call in (lambda: adapters.create(actor=owner, name="RESULT"), lambda: lifecycle.rename(actor=owner, adapter=module, name="RESULT")):
        with refused("name-taken", 400) as caught:
            call()
        assert caught.value.message == "A composition that waits or runs will become owner/RESULT. Choose another name."


@pytest.mark.django_db(transaction=True)
def test_two_who_create_at_once() -> None:
    user = User.objects.create_user("acme")
    outcomes = at_once(*[lambda: adapters.create(actor=user, name="mine", tags=["b", "a"])] * 2)
    assert sorted(getattr(o, "code", "made") for o in outcomes) == ["made", "name-taken"]


@pytest.mark.django_db(transaction=True)
def test_new_tags_in_opposite_order_do_not_lock_each_other_out() -> None:
    user = User.objects.create_user("acme")
    names = [f"tag{i}" for i in range(20)]
    outcomes = at_once(
        lambda: adapters.create(actor=user, name="one", tags=names),
        lambda: adapters.create(actor=user, name="two", tags=names[::-1]),
    )
    assert all(isinstance(o, Adapter) for o in outcomes), outcomes
    assert Tag.objects.count() == 20


@pytest.mark.parametrize("tag", ["a,b", "\u00e9t\u00e9", "x" * 51, "<b>", "a\x00", "a/b", "\ud800"])
def test_a_tag_that_is_refused(owner: User, tag: str) -> None:
    with refused("tag-invalid", 400):
        adapters.create(actor=owner, name="mine", tags=[tag])
    assert not Adapter.objects.exists() and not Tag.objects.exists()


def test_too_many_tags(owner: User) -> None:
    with refused("too-many-tags", 400):
        adapters.create(actor=owner, name="mine", tags=[f"t{i}" for i in range(21)])


def test_nobody_creates_without_logging_in(db: None) -> None:
    with refused("login-required", 401):
        adapters.create(actor=AnonymousUser(), name="mine")


def test_update(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine", tags=("old",))
    adapters.update(actor=owner, adapter=adapter, private=True, tags=["new"])
    adapter.refresh_from_db()
    assert adapter.private and [t.name for t in adapter.tags.all()] == ["new"]
    adapters.update(actor=owner, adapter=adapter, private=False)
    assert [t.name for t in adapter.tags.all()] == ["new"]
    assert verbs()[-3:] == ["adapter.hide", "adapter.tag", "adapter.publish"]


def test_update_looks_at_the_row_and_not_at_an_old_copy(owner: User, upload: Upload) -> None:
    old = upload(owner, "mine")
    adapters.update(actor=owner, adapter=Adapter.objects.get(pk=old.pk), private=True)
    adapters.update(actor=owner, adapter=old, private=False)
    assert not Adapter.objects.get(pk=old.pk).private


def test_someone_elses_adapter(owner: User, stranger: User, upload: Upload) -> None:
    adapter = upload(owner, "mine")
    with refused("forbidden", 403):
        adapters.update(actor=stranger, adapter=adapter, private=True)
    with refused("forbidden", 403):
        lifecycle.delete(actor=stranger, adapter=adapter)
    with refused("forbidden", 403):
        adapters.commit(actor=stranger, adapter=adapter, deletions=["adapter_config.json"])
    with refused("login-required", 401):
        lifecycle.delete(actor=AnonymousUser(), adapter=adapter)
    adapter.refresh_from_db()
    assert not adapter.private and Revision.objects.count() == 1


def test_a_result_of_a_private_parent_stays_private(owner: User, upload: Upload) -> None:
    parent = upload(owner, "parent")
    child = upload(owner, "child", seed=1, private=True)
    Parent.objects.create(revision=child.head, adapter=parent, repo_id=parent.repo_id, sha=parent.head.sha, weight=1.0)
    adapters.update(actor=owner, adapter=parent, private=True)
    with refused("private-parents", 409):
        adapters.update(actor=owner, adapter=child, private=False)
    child.refresh_from_db()
    assert child.private
    adapters.update(actor=owner, adapter=parent, private=False)
    assert not adapters.update(actor=owner, adapter=child, private=False).private


def test_delete(owner: User, friend: User, upload: Upload) -> None:
    adapter = upload(owner, "mine", tags=("nlp",))
    social.like(actor=friend, adapter=adapter, on=True)
    social.count_download(adapter=adapter, client="x")
    commit(adapter, {"README.md": b"# Better\n"})
    lifecycle.delete(actor=owner, adapter=adapter)
    assert not Adapter.objects.exists() and verbs()[-1] == "adapter.delete"
    lifecycle.purge(actor=owner, adapter=lifecycle.find_deleted(actor=owner, repo_id="owner/mine"))
    assert not Adapter.with_deleted.exists() and not Revision.objects.exists() and not RevisionFile.objects.exists()
    assert Blob.objects.exists(), "blobs may belong to others too"
    assert verbs()[-1] == "adapter.purge"


def test_a_deleted_parent_keeps_its_name_as_lineage(owner: User, upload: Upload) -> None:
    parent, child = upload(owner, "parent"), upload(owner, "child", seed=1)
    Parent.objects.create(revision=child.head, adapter=parent, repo_id=parent.repo_id, sha=parent.head.sha, weight=0.5)
    lifecycle.delete(actor=owner, adapter=parent)
    row = child.head.parents.get()
    assert (row.adapter, row.repo_id, row.weight) == (None, "owner/parent", 0.5)


def test_deleting_the_result_keeps_the_job(owner: User, upload: Upload) -> None:
    module = upload(owner, "module")
    job = submit(owner)
    Composition.objects.filter(pk=job.pk).update(result=module.head)
    lifecycle.delete(actor=owner, adapter=module)
    job.refresh_from_db()
    assert job.result is None
    assert [(i.repo_id, i.revision) for i in job.ingredients.all()] == [("owner/module", None)]


def test_verbs_on_an_adapter_that_is_gone(owner: User, friend: User, upload: Upload) -> None:
    adapter = upload(owner, "mine")
    Adapter.objects.get(pk=adapter.pk).delete()
    with refused("not-found", 404):
        adapters.update(actor=owner, adapter=adapter, tags=["x"])
    with refused("not-found", 404):
        commit(adapter, {"README.md": b"# Late\n"})
    with refused("not-found", 404):
        social.like(actor=friend, adapter=adapter, on=True)


def test_deleting_a_person_takes_adapters_and_jobs_along(owner: User, friend: User, upload: Upload) -> None:
    module = upload(owner, "module")
    child = upload(friend, "child", seed=1)
    Parent.objects.create(revision=child.head, adapter=module, repo_id=module.repo_id, sha=module.head.sha, weight=1.0)
    job = claimed(submit(owner))
    owner.delete()
    assert [a.repo_id for a in Adapter.objects.all()] == ["friend/child"]
    assert not Composition.objects.filter(pk=job.pk).exists()
    assert child.head.parents.get().repo_id == "owner/module"


def test_publish_makes_an_adapter_with_its_first_revision(owner: User) -> None:
    revision = adapters.publish(actor=owner, name="mine", tags=["nlp"], files=incoming(make.adapter()))
    adapter = Adapter.objects.get()
    assert adapter.head == revision and adapter.composable and [t.name for t in adapter.tags.all()] == ["nlp"]
    assert verbs()[-2:] == ["adapter.create", "adapter.commit"]


@pytest.mark.parametrize(
    ("files", "code"), [({}, "commit-empty"), ({"adapter_config.json": b"{"}, "weights-missing"), ({"adapter_model.bin": b"\x80\x02"}, "file-type-refused")]
)
def test_publish_makes_nothing_of_a_bad_upload(owner: User, files: dict[str, bytes], code: str) -> None:
    with pytest.raises(HubError) as caught:
        adapters.publish(actor=owner, name="mine", files=incoming(files))
    assert caught.value.code == code
    assert not Adapter.objects.exists() and verbs() == ["account.create"]
