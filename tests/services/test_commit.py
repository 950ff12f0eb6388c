"""Committing revisions: immutable, content-addressed, all or nothing."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from hub import adapter_format, storage
from hub.errors import HubError
from hub.models import Adapter, BaseModel, Blob, Event, Parent, Revision, RevisionFile, User
from hub.services import adapters, lifecycle
from tests import make
from tests.conftest import Upload, commit
from tests.services.stage import at_once, incoming, refused, verbs

CARD = "---\nlicense: apache-2.0\ntags: [Sports, nlp]\nbase_model: tiny/llama\n---\n# Title\n\nUnderstands sports.\n"


def content(revision: Revision) -> dict[str, bytes]:
    """What a revision holds, read back from the store."""
    return {row.path: storage.open_blob(row.blob_id).read() for row in revision.files.all()}


def test_it_works(owner: User) -> None:
    adapter = adapters.create(actor=owner, name="mine")
    files = make.adapter(rank=4, card=CARD)
    revision = commit(adapter, files, message="First try")
    assert len(revision.sha) == 40 and set(revision.sha) <= set("0123456789abcdef") and revision.short == revision.sha[:7]
    assert (revision.author, revision.message, revision.parent, revision.recipe) == (owner, "First try", None, None)
    assert content(revision) == files
    assert revision.facts["rank"] == 4 and revision.facts["composable"]
    adapter = Adapter.objects.get()
    assert adapter.head == revision and adapter.updated_at == revision.created_at
    assert (adapter.base_model, adapter.peft_type, adapter.rank, adapter.composable) == ("tiny/llama", "LORA", 4, True)
    assert (adapter.licence, adapter.summary, adapter.composed) == ("apache-2.0", "Understands sports.", False)
    assert adapter.size == sum(map(len, files.values()))
    assert sorted(t.name for t in adapter.tags.all()) == ["nlp", "sports"]
    assert BaseModel.objects.get().name == "tiny/llama"
    event = Event.objects.latest("pk")
    assert (event.verb, event.subject, event.actor, event.data["sha"]) == ("adapter.commit", "owner/mine", owner, revision.sha)


def test_a_revision_never_changes(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine", card="# One\n")
    first = adapter.head
    before = content(first)
    second = commit(adapter, {"README.md": b"# Two\n"})
    third = adapters.commit(actor=owner, adapter=adapter, deletions=["README.md"])
    assert content(first) == before and Revision.objects.get(pk=first.pk).sha == first.sha
    assert content(second) == {**before, "README.md": b"# Two\n"}
    assert "README.md" not in content(third)
    assert [r.sha for r in adapter.revisions.all()] == [third.sha, second.sha, first.sha]
    assert (third.parent, second.parent) == (second, first)
    assert third.message == "Delete README.md" and second.message == "Upload README.md"


def test_the_same_bytes_are_stored_once(owner: User, friend: User, upload: Upload, own_store: Path) -> None:
    one = upload(owner, "one")
    two = upload(friend, "two")
    assert [f.blob_id for f in one.head.files.all()] == [f.blob_id for f in two.head.files.all()]
    on_disk = sorted(p.name for p in own_store.rglob("*") if p.is_file())
    assert on_disk == sorted(Blob.objects.values_list("sha256", flat=True)) and len(on_disk) == 2
    for row in Blob.objects.all():
        assert hashlib.sha256(storage.open_blob(row.sha256).read()).hexdigest() == row.sha256


def test_an_unchanged_commit_is_the_head(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine")
    assert commit(adapter, make.adapter()) == adapter.head
    assert Revision.objects.count() == 1 and verbs().count("adapter.commit") == 1


def test_equal_trees_of_two_adapters_have_ids_of_their_own(owner: User, upload: Upload) -> None:
    assert upload(owner, "one").head.sha != upload(owner, "two").head.sha


def test_blob_first_row_last(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = adapters.create(actor=owner, name="mine")
    inside = adapters.write

    def checked(user: User, target: Adapter, head: Any, tree: Mapping[str, storage.Stored], *rest: Any) -> Revision:
        assert all(storage.local_path(s.sha256).is_file() for s in tree.values())
        assert not RevisionFile.objects.exists()
        return inside(user, target, head, tree, *rest)

    monkeypatch.setattr(adapters, "write", checked)
    assert commit(adapter, make.adapter()).files.count() == 2


def test_a_commit_that_breaks_leaves_no_row(owner: User, upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = upload(owner, "mine")
    head = adapter.head
    rows = [m.objects.count() for m in (Revision, RevisionFile, Blob, Event)]

    def broken(*args: Any, **more: Any) -> None:
        raise RuntimeError("the log is broken")

    monkeypatch.setattr(adapters.audit, "record", broken)
    with pytest.raises(RuntimeError):
        commit(adapter, {"README.md": b"# New\n"})
    assert [m.objects.count() for m in (Revision, RevisionFile, Blob, Event)] == rows
    assert Adapter.objects.get().head == head


def test_a_stale_parent(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine")
    first = adapter.head
    second = commit(adapter, {"README.md": b"# Two\n"}, parent=first.sha)
    with refused("parent-stale", 412):
        commit(adapter, {"README.md": b"# Three\n"}, parent=first.sha)
    with refused("parent-stale", 412):
        commit(adapter, {"README.md": b"# Three\n"}, parent=second.sha[:6])
    assert commit(adapter, {"README.md": b"# Three\n"}, parent=second.short).parent == second


def test_a_parent_where_there_is_none(owner: User) -> None:
    adapter = adapters.create(actor=owner, name="mine")
    with refused("parent-stale", 412):
        commit(adapter, make.adapter(), parent="0" * 40)
    assert not Revision.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_commits_at_once_on_a_named_parent() -> None:
    user = User.objects.create_user("acme")
    adapter = adapters.create(actor=user, name="mine")
    first = commit(adapter, make.adapter())

    def change(path: str) -> Revision:
        return commit(Adapter.objects.select_related("owner").get(), {path: path.encode()}, parent=first.sha)

    outcomes = at_once(lambda: change("a.txt"), lambda: change("b.txt"))
    assert sorted(getattr(o, "code", "landed") for o in outcomes) == ["landed", "parent-stale"]
    assert Revision.objects.count() == 2 and Adapter.objects.get().head.parent == first


@pytest.mark.django_db(transaction=True)
def test_commits_at_once_without_a_parent_all_land() -> None:
    user = User.objects.create_user("acme")
    adapter = adapters.create(actor=user, name="mine")
    commit(adapter, make.adapter())

    def change(path: str) -> Revision:
        return commit(Adapter.objects.select_related("owner").get(), {path: path.encode(), "same.txt": b"same"})

    outcomes = at_once(*[lambda p=path: change(p) for path in ("a.txt", "b.txt", "c.txt", "d.txt")])
    assert all(isinstance(o, Revision) for o in outcomes), outcomes
    head = Adapter.objects.get().head
    assert set(content(head)) >= {"a.txt", "b.txt", "c.txt", "d.txt", "same.txt"}
    line = []
    while head is not None:
        line.append(head)
        head = head.parent
    assert len(line) == 5, "every revision is on the one line of history"


def test_a_commit_that_is_always_overtaken_says_so(owner: User, upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = upload(owner, "mine")
    monkeypatch.setattr(adapters, "advance", lambda *args: False)
    with refused("commit-busy", 409):
        commit(adapter, {"README.md": b"# New\n"})
    assert Revision.objects.count() == 1 and verbs().count("adapter.commit") == 1


def test_nobody_commits_without_logging_in(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine")
    with refused("login-required", 401):
        adapters.commit(actor=AnonymousUser(), adapter=adapter, files=incoming({"README.md": b"# Hi\n"}))


def test_someone_elses_adapter_stores_nothing(owner: User, stranger: User, upload: Upload, own_store: Path) -> None:
    adapter = upload(owner, "mine")
    before = sorted(own_store.rglob("*"))
    with refused("forbidden", 403):
        adapters.commit(actor=stranger, adapter=adapter, files=incoming({"README.md": b"# Mine now\n"}))
    assert sorted(own_store.rglob("*")) == before


def test_nothing_to_commit(owner: User, upload: Upload) -> None:
    with refused("commit-empty", 400):
        adapters.commit(actor=owner, adapter=upload(owner, "mine"))


def test_deleting_what_is_not_there(owner: User, upload: Upload) -> None:
    with refused("file-not-found", 404):
        adapters.commit(actor=owner, adapter=upload(owner, "mine"), deletions=["notes.txt\x00"])


def composed(adapter: Adapter, parent: Adapter) -> Revision:
    """Make the head look as the worker publishes it."""
    head = adapter.head
    Revision.objects.filter(pk=head.pk).update(recipe={"format": "medley-recipe"}, scores={"base": {"loss": 1.0}})
    Adapter.objects.filter(pk=adapter.pk).update(composed=True)
    Parent.objects.create(revision=head, adapter=parent, repo_id=parent.repo_id, sha=parent.head.sha, weight=0.25)
    return Revision.objects.get(pk=head.pk)


def test_a_better_card_keeps_the_lineage(owner: User, upload: Upload) -> None:
    parent, child = upload(owner, "parent"), upload(owner, "child", seed=1)
    origin = composed(child, parent)
    revision = commit(child, {"README.md": b"# Better\n"})
    assert (revision.recipe, revision.scores) == (origin.recipe, origin.scores)
    assert [(p.adapter, p.repo_id, p.sha, p.weight) for p in revision.parents.all()] == [(parent, "owner/parent", parent.head.sha, 0.25)]
    assert origin.parents.count() == 1, "the lineage is copied, not moved"
    assert Adapter.objects.get(name="child").composed


def test_other_weights_end_the_lineage(owner: User, upload: Upload) -> None:
    child = upload(owner, "child", seed=1)
    composed(child, upload(owner, "parent"))
    revision = commit(child, make.adapter(seed=2))
    assert (revision.recipe, revision.scores, revision.parents.count()) == (None, None, 0)
    assert not Adapter.objects.get(name="child").composed


def test_the_lineage_follows_the_adapter_and_not_its_name(owner: User, upload: Upload) -> None:
    parent, child = upload(owner, "parent"), upload(owner, "child", seed=1)
    composed(child, parent)
    lifecycle.delete(actor=owner, adapter=parent)
    lifecycle.purge(actor=owner, adapter=lifecycle.find_deleted(actor=owner, repo_id="owner/parent"))
    upload(owner, "parent", seed=9)
    row = commit(child, {"README.md": b"# Better\n"}).parents.get()
    assert (row.adapter, row.repo_id) == (None, "owner/parent"), "another adapter took the name and is no parent"


def test_an_uploaded_recipe_makes_no_lineage(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine", files={**make.adapter(), "recipe.json": b'{"parents": ["friend/secret"]}'})
    assert adapter.head.recipe is None and not adapter.composed


def test_texts_that_no_database_takes(owner: User, upload: Upload) -> None:
    card = '---\nlicense: "a\\0b"\ntags: ["x\\0"]\n---\n# T\x00itle\n\nHas a \x07 bell.\n'
    adapter = upload(owner, "mine", files={**make.adapter(task_type="CAUSAL_LM"), "README.md": b"# plain\n"})
    revision = commit(adapter, {"README.md": "# caf\u00e9 \U0001f600\n\nText.\n".encode()}, message="half \ud800 and \x00 nul " + "x" * 600)
    assert revision.message.startswith("half  and  nul x") and len(revision.message) == 500
    with pytest.raises(HubError, match="NUL"):
        commit(adapter, {"README.md": card.encode()})


def test_a_long_base_model_and_licence_fit_their_columns(owner: User, upload: Upload) -> None:
    card = f"---\nlicense: {'l' * 99}\nbase_model: {'b' * 199}\n---\n{'word ' * 500}\n"
    adapter = upload(owner, "card-only", files={"README.md": card.encode()})
    assert (adapter.composable, adapter.peft_type, len(adapter.licence), len(adapter.base_model)) == (False, "", 80, 199)
    named = upload(owner, "named", base="/models/" + "b" * 300)
    assert len(named.base_model) == 200 and not named.composable and named.head.facts["base_model"] == "/models/" + "b" * 300


def test_a_card_says_the_base_model_where_no_config_does(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "card-only", files={"README.md": CARD.encode()})
    assert adapter.base_model == "tiny/llama" and adapter.head.facts is None and not adapter.composable


def test_tags_of_the_card_do_not_overrule_the_owner(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine", tags=("chosen",), card=CARD)
    assert [t.name for t in adapter.tags.all()] == ["chosen"]


def test_a_new_card_does_not_read_the_weights_again(upload, owner, monkeypatch):
    adapter = upload(owner, "mine")
    facts = adapter.head.facts
    monkeypatch.setattr(adapter_format, "inspect", lambda files: pytest.fail("the weights were read again"))
    assert commit(adapter, {"README.md": b"# Better words\n"}).facts == facts
