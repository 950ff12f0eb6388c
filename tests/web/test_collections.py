"""Pages of collections and the tabs of a profile, and the same through the API."""

import json

from django.test import Client

from hub.models import Adapter, Collection, User
from hub.services import accounts, collections, social
from tests.web.conftest import page, text


def test_it_works(as_friend: Client, anonymous: Client, sums: Adapter, secret: Adapter, friend: User) -> None:
    assert "/owner/sums/collect" in page(as_friend.get("/owner/sums"))
    as_friend.post("/owner/sums/collect", {"title": "Arithmetic"})
    row = Collection.objects.get()
    address = f"/collections/friend/{row.slug}"
    assert "owner/" in page(anonymous.get(address)) and "sums" in text(anonymous.get(address))
    assert anonymous.get(f"/collections/Friend/old-name-{row.pk}")["Location"] == address
    as_friend.post(f"{address}/items", {"item": row.items.get().pk, "note": "Try <this> first"})
    assert "Try &lt;this&gt; first" in page(anonymous.get(address))
    assert "Arithmetic" in page(anonymous.get("/collections")) and "Arithmetic" in page(anonymous.get("/friend?show=collections"))
    as_friend.post(f"{address}/edit", {"title": "Sums", "private": "1"})
    assert anonymous.get(address).status_code == 404 and "Sums" not in page(anonymous.get("/collections"))
    as_friend.post("/owner/sums/collect", {"in": []})
    assert not row.items.exists()
    as_friend.post(f"/collections/friend/sums-{row.pk}/delete")
    assert not Collection.objects.exists()


def test_moving_past_a_hole(as_friend: Client, friend: User, upload) -> None:
    row = collections.create(actor=friend, title="All")
    items = [collections.add(actor=friend, collection=row, adapter=upload(friend, name, seed=n)) for n, name in enumerate("abcd")]
    collections.remove(actor=friend, collection=row, number=items[0].pk)

    def press(item, neighbour) -> str:
        as_friend.post(f"/collections/friend/{row.slug}/items", {"item": item.pk, "position": row.items.get(pk=neighbour.pk).position})
        return "".join(item.adapter.name for item in row.items.all())

    _, b, c, d = items
    assert [press(d, c), press(d, b), press(d, b), press(b, d), press(d, c)] == ["bdc", "dbc", "bdc", "dbc", "bcd"]


def test_what_cannot_be_collected_changes_nothing(as_friend: Client, friend: User, sums: Adapter) -> None:
    row = collections.create(actor=friend, title="All")
    html = page(as_friend.post("/owner/sums/collect", {"in": row.pk, "title": "x" * 90, "private": "1"}), 400)
    assert not row.items.exists() and f'value="{row.pk}" checked' in html and "x" * 90 in html and 'name="private" value="1" checked' in html


def test_moving_and_taking_out(as_friend: Client, friend: User, sums: Adapter, owner: User, upload) -> None:
    row = collections.create(actor=friend, title="All")
    first, second = (collections.add(actor=friend, collection=row, adapter=a) for a in (sums, upload(owner, "two", seed=1)))
    edit = f"/collections/friend/{row.slug}/edit"
    assert "Move owner/two up" in page(as_friend.get(edit)) and "Move owner/sums up" not in page(as_friend.get(edit))
    as_friend.post(f"/collections/friend/{row.slug}/items", {"item": second.pk, "position": first.position})
    assert [item.adapter.name for item in row.items.all()] == ["two", "sums"]
    as_friend.post(f"/collections/friend/{row.slug}/items", {"item": second.pk, "remove": "1"})
    assert [item.adapter.name for item in row.items.all()] == ["sums"]


def test_strangers(as_stranger: Client, anonymous: Client, as_owner: Client, sums: Adapter, secret: Adapter, friend: User, owner: User) -> None:
    row = collections.create(actor=owner, title="Mixed")
    for adapter in (sums, secret):
        collections.add(actor=owner, collection=row, adapter=adapter)
    social.like(actor=owner, adapter=secret, on=True)
    for who in (anonymous, as_stranger):
        for path in (f"/collections/owner/{row.slug}", "/collections", "/owner?show=collections", "/owner?show=likes"):
            html = page(who.get(path))
            assert "hush" not in html and "2 adapters" not in html, path
    assert "hush-plan" in page(as_owner.get(f"/collections/owner/{row.slug}")) and "hush-plan" in page(as_owner.get("/owner?show=likes"))
    for path in ("edit", "delete", "items"):
        assert as_stranger.post(f"/collections/owner/{row.slug}/{path}", {"title": "x"}).status_code == 403
        assert anonymous.post(f"/collections/owner/{row.slug}/{path}")["Location"].startswith("/accounts/login/")
    collections.update(actor=owner, collection=row, private=True)
    for path in ("", "/edit"):
        assert text(as_stranger.get(f"/collections/owner/{row.slug}{path}")) == text(as_stranger.get(f"/collections/owner/none-999{path}"))
    assert as_stranger.get("/owner/hush-plan/collect").status_code == 404


def test_a_wrong_title_is_said_at_the_field(as_friend: Client, sums: Adapter) -> None:
    assert as_friend.post("/collections/new", {"title": " "}).status_code == 400
    assert 'aria-invalid="true"' in page(as_friend.post("/owner/sums/collect", {"title": "x" * 100}), 400)


def test_the_api(friend: User, stranger: User, owner: User, sums: Adapter, secret: Adapter) -> None:
    def speak(user: User | None, method: str, path: str, body: object = None) -> tuple[int, dict]:
        headers = {"Authorization": f"Bearer {accounts.create_token(actor=user, name='t', scope='write')[1]}"} if user else {}
        answer = Client(headers=headers).generic(method, f"/api/v1/collections{path}", json.dumps(body) if body is not None else "", "application/json")
        return answer.status_code, answer.json() if answer.content else {}

    status, made = speak(owner, "POST", "", {"title": "Mixed", "description": "d"})
    assert status == 201 and made["size"] == 0
    at = f"/{made['id']}"
    for name in ("owner/sums", "owner/hush-plan"):
        assert speak(owner, "POST", f"{at}/items", {"adapter": name})[0] == 201
    assert speak(owner, "POST", f"{at}/items", {"adapter": "owner/sums"})[0] == 409
    assert speak(stranger, "POST", f"{at}/items", {"adapter": "owner/sums"})[0] == 403
    seen = speak(owner, "GET", at)[1]
    assert [item["adapter"] for item in seen["items"]] == ["owner/sums", "owner/hush-plan"]
    for who in (None, stranger):
        assert [item["adapter"] for item in speak(who, "GET", at)[1]["items"]] == ["owner/sums"]
        assert [row["size"] for row in speak(who, "GET", "?owner=owner")[1]["items"]] == [1]
    hidden = seen["items"][1]["id"]
    assert speak(owner, "PATCH", f"{at}/items/{hidden}", {"position": 0, "note": "n"})[1]["position"] == 0
    for method, path, body in (
        ("PATCH", at, {"title": "x"}),
        ("DELETE", at, None),
        ("DELETE", f"{at}/items/{hidden}", None),
        ("PATCH", f"{at}/items/{hidden}", {"note": "x"}),
    ):
        assert speak(stranger, method, path, body)[0] == 403 and speak(None, method, path, body)[0] == 401
    assert speak(owner, "PATCH", at, {"private": True})[1]["private"] is True
    for method, path, body in (("GET", at, None), ("PATCH", at, {"title": "x"}), ("DELETE", at, None), ("POST", f"{at}/items", {"adapter": "owner/sums"})):
        assert speak(stranger, method, path, body) == speak(stranger, method, path.replace(at, "/999999"), body)
        assert speak(stranger, method, path, body)[0] == 404
    assert speak(owner, "DELETE", f"{at}/items/{hidden}")[0] == speak(owner, "DELETE", at)[0] == 204
