"""Finding adapters, revisions and files by what people type."""

import pytest
from django.contrib.auth.models import AnonymousUser

from hub.models import Revision, User
from hub.services import adapters, jobs, organizations, search
from tests.conftest import Upload, commit
from tests.services.stage import refused, submit


def test_it_works(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "Mine")
    assert adapters.find(actor=AnonymousUser(), repo_id="owner/Mine") == adapter
    assert adapters.find(actor=owner, repo_id="OWNER/mINE") == adapter


ODD = ["", "/", "owner", "owner/", "/mine", "owner/mine/", "owner/mine/x", " owner/mine", "owner/mine\n", "owner/mine\x00", "own\x00er/mine", "owner/\ud800"]


@pytest.mark.parametrize(
    "repo_id", [*ODD, "owner/%", "owner/m_ne", "%/mine", "owner/" + "m" * 5000, "o" * 5000 + "/mine", "owner/mine'--", "../mine", "owner/m\u00efne"]
)
def test_odd_ids_are_not_found(owner: User, upload: Upload, repo_id: str) -> None:
    upload(owner, "mine")
    with refused("not-found", 404):
        adapters.find(actor=owner, repo_id=repo_id)


def test_hidden_and_missing_sound_the_same(owner: User, stranger: User, upload: Upload) -> None:
    upload(owner, "secret", private=True)
    messages = set()
    for repo_id in ("owner/secret", "owner/nothing", "nobody/secret"):
        with refused("not-found", 404) as caught:
            adapters.find(actor=stranger, repo_id=repo_id)
        messages.add(caught.value.message)
    assert len(messages) == 1


def test_a_revision(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine")
    first = adapter.head
    second = commit(adapter, {"README.md": b"# Two\n"})
    for ref, wanted in (("main", second), ("", second), ("HEAD", second), (first.sha, first), (first.short, first), (second.sha[:20], second)):
        assert adapters.find_revision(adapter=adapter, ref=ref) == wanted


@pytest.mark.parametrize("ref", ["master", "0" * 40, "0" * 41, "abcdef", "%", "_" * 7, "main\x00", "\ud800" * 8, "g" * 40])
def test_a_revision_that_is_not_there(owner: User, upload: Upload, ref: str) -> None:
    with refused("revision-not-found", 404):
        adapters.find_revision(adapter=upload(owner, "mine"), ref=ref)


def test_capitals_are_no_sha(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine")
    Revision.objects.filter(pk=adapter.head.pk).update(sha="abcdef" * 6 + "abcd")
    with refused("revision-not-found", 404):
        adapters.find_revision(adapter=adapter, ref="ABCDEFA")


def test_a_short_sha_that_fits_two(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine")
    second = commit(adapter, {"README.md": b"# Two\n"})
    Revision.objects.filter(pk=second.pk).update(sha=adapter.revisions.last().sha[:20] + "f" * 20)
    with refused("revision-not-found", 404):
        adapters.find_revision(adapter=adapter, ref=adapter.revisions.last().sha[:10])


def test_a_revision_of_another_adapter(owner: User, upload: Upload) -> None:
    other = upload(owner, "other", seed=1)
    with refused("revision-not-found", 404):
        adapters.find_revision(adapter=upload(owner, "mine"), ref=other.head.sha)


def test_an_adapter_without_files(owner: User) -> None:
    with refused("no-revision", 404):
        adapters.find_revision(adapter=adapters.create(actor=owner, name="mine"))


def test_a_file(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine", card="# One\n")
    commit(adapter, {"README.md": b"# Two\n"})
    new = adapters.find_file(actor=AnonymousUser(), repo_id="owner/mine", path="README.md")
    old = adapters.find_file(actor=AnonymousUser(), repo_id="owner/mine", path="README.md", ref=adapter.revisions.last().short)
    assert new.blob_id != old.blob_id and new.blob.size == 6


@pytest.mark.parametrize("path", ["", "nothing.txt", "readme.md", "../README.md", "README.md/", "README%", "a\x00b", "\ud800", "x" * 5000])
def test_a_file_that_is_not_there(owner: User, upload: Upload, path: str) -> None:
    upload(owner, "mine", card="# One\n")
    with refused("file-not-found", 404):
        adapters.find_file(actor=owner, repo_id="owner/mine", path=path)


def test_a_file_of_a_hidden_adapter(owner: User, stranger: User, upload: Upload) -> None:
    upload(owner, "mine", private=True)
    with refused("not-found", 404):
        adapters.find_file(actor=stranger, repo_id="owner/mine", path="adapter_config.json")


def test_a_job(owner: User, stranger: User, upload: Upload) -> None:
    upload(owner, "module")
    job = submit(owner)
    assert jobs.find(actor=owner, job_id=job.pk) == job
    for actor in (stranger, AnonymousUser()):
        with refused("not-found", 404):
            jobs.find(actor=actor, job_id=job.pk)


@pytest.mark.parametrize("job_id", [0, -1, 2**63, 10**40])
def test_a_job_that_is_not_there(owner: User, job_id: int) -> None:
    with refused("not-found", 404):
        jobs.find(actor=owner, job_id=job_id)


def test_the_former_name_of_an_organisation_lists_what_it_has(owner: User) -> None:
    guild = organizations.create(actor=owner, name="guild")
    shared = adapters.create(actor=owner, name="shared", owner=guild)
    organizations.rename(actor=owner, organization=guild, name="club")
    for name in ("club", "guild", "Guild"):
        assert list(search.adapters(actor=owner, owner=name).items) == [shared]
