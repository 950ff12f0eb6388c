"""Likes and download counts."""

import pytest
from django.contrib.auth.models import AnonymousUser

from hub.models import Adapter, Download, Like, User
from hub.services import adapters, social
from tests.conftest import Upload
from tests.services.stage import all_text, at_once, refused, verbs


def test_it_works(owner: User, friend: User, upload: Upload) -> None:
    adapter = upload(owner, "mine")
    assert social.like(actor=friend, adapter=adapter, on=True).likes == 1
    assert social.is_liked(actor=friend, adapter=adapter) and not social.is_liked(actor=owner, adapter=adapter)
    assert not social.is_liked(actor=AnonymousUser(), adapter=adapter)
    assert social.like(actor=owner, adapter=adapter, on=True).likes == 2
    assert social.like(actor=friend, adapter=adapter, on=False).likes == 1
    assert verbs()[-3:] == ["adapter.like", "adapter.like", "adapter.unlike"]


def test_twice_counts_once(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine")
    social.like(actor=owner, adapter=adapter, on=False)
    assert Adapter.objects.get().likes == 0
    for _ in range(2):
        social.like(actor=owner, adapter=adapter, on=True)
    assert Adapter.objects.get().likes == Like.objects.count() == 1
    assert verbs().count("adapter.like") == 1 and "adapter.unlike" not in verbs()


def test_nobody_likes_without_logging_in(owner: User, upload: Upload) -> None:
    with refused("login-required", 401):
        social.like(actor=AnonymousUser(), adapter=upload(owner, "mine"), on=True)


def test_a_hidden_adapter(owner: User, stranger: User, upload: Upload) -> None:
    with refused("not-found", 404):
        social.like(actor=stranger, adapter=upload(owner, "mine", private=True), on=True)
    assert not Like.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_likes_at_once() -> None:
    people = [User.objects.create_user(f"user{i}") for i in range(4)]
    adapter = adapters.create(actor=people[0], name="mine")
    outcomes = at_once(*[lambda p=person: social.like(actor=p, adapter=adapter, on=True) for person in [*people, people[0]]])
    assert all(isinstance(o, Adapter) for o in outcomes), outcomes
    assert Adapter.objects.get().likes == Like.objects.count() == 4


def test_a_download_counts_once_a_day_and_client(owner: User, upload: Upload) -> None:
    adapter = upload(owner, "mine")
    for client in ("198.51.100.7", "198.51.100.7", "user:1"):
        social.count_download(adapter=adapter, client=client)
    assert Adapter.objects.get().downloads == 2
    Download.objects.update(day="2020-01-01")
    social.count_download(adapter=adapter, client="198.51.100.7")
    assert Adapter.objects.get().downloads == 3
    assert "198.51.100.7" not in all_text(Download)


@pytest.mark.django_db(transaction=True)
def test_downloads_at_once() -> None:
    adapter = adapters.create(actor=User.objects.create_user("acme"), name="mine")
    outcomes = at_once(*[lambda c=client: social.count_download(adapter=adapter, client=c) for client in "aabbc"])
    assert outcomes == [None] * 5
    assert Adapter.objects.get().downloads == 3
