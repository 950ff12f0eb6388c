"""The report forms, the moderators' page, and the tombstone at each door."""

import pytest
from django.test import Client

from hub.models import Adapter, Comment, Report, User
from hub.services import accounts, comments, moderation
from tests.conftest import Upload
from tests.web.conftest import client, page, text


@pytest.fixture
def moderator(owner: User) -> User:
    return User.objects.create_user("moderator", email="moderator@example.org", is_staff=True)


def test_from_report_to_tombstone_and_back(as_friend: Client, as_owner: Client, anonymous: Client, sums: Adapter, moderator: User) -> None:
    assert "/owner/sums/report" in page(as_friend.get("/owner/sums")) and "/owner/sums/report" not in page(as_owner.get("/owner/sums"))
    assert "choose one of the reasons" in page(as_friend.post("/owner/sums/report", {"text": "x"}), 400)
    as_friend.post("/owner/sums/report", {"reason": "rights", "text": "It <b>is</b> mine"})
    staff = client(moderator)
    html = page(staff.get("/moderation"))
    assert "It &lt;b&gt;is&lt;/b&gt; mine" in html and 'value="take-down"' in html
    staff.post(f"/moderation/reports/{Report.objects.get().pk}", {"decision": "take-down", "reason": "harm", "text": "It runs code."})
    said = text(anonymous.get("/owner/sums"))
    assert anonymous.get("/owner/sums").status_code == 410 and "owner/sums was taken down" in said and "malware" in said and "It runs code" not in said
    assert "It runs code." in text(as_owner.get("/owner/sums"))
    staff.post("/moderation/undo", {"what": "adapter", "of": sums.pk})
    assert anonymous.get("/owner/sums").status_code == 200


def test_every_door_says_so(as_owner: Client, anonymous: Client, sums: Adapter, moderator: User, owner: User) -> None:
    moderation.take_down(actor=moderator, adapter=sums, reason="rights")
    for path in ("", "/files/README.md", "/zip", "/revisions", "/settings", "/comments"):
        for who in (anonymous, as_owner):
            response = who.get(f"/owner/sums{path}")
            assert response.status_code == (302 if path == "/settings" and who is anonymous else 410), path
    token = accounts.create_token(actor=owner, name="t", scope="write")[1]
    for headers in ({}, {"Authorization": f"Bearer {token}"}):
        for path in ("", "/files/README.md", "/revisions", "/comments"):
            response = Client(headers=headers).get(f"/api/v1/adapters/owner/sums{path}")
            assert (response.status_code, response.json()["error"]["code"]) == (410, "taken-down")
            assert response.json()["error"]["fields"] == {"reason": "rights"}
        sha = sums.head.sha
        for path in (
            "/owner/sums/resolve/main/README.md",
            f"/owner/sums/resolve/{sha}/README.md",
            "/api/models/owner/sums",
            "/api/models/owner/sums/tree/main",
        ):
            response = Client(headers=headers).get(path)
            assert (response.status_code, response["X-Error-Code"], response["X-Error-Message"]) == (
                410,
                "DisabledRepo",
                "Access to this resource is disabled.",
            )
            assert "rights" in response.json()["error"]
        assert Client(headers=headers).get("/api/models?search=sums").json() == []


def test_the_client_raises_its_own_error(live_server, transactional_db, upload: Upload) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import DisabledRepoError

    owner = User.objects.create_user("owner")
    sums = upload(owner, "sums")
    moderation.take_down(actor=User.objects.create_user("moderator", email="m@example.org", is_staff=True), adapter=sums, reason="spam")
    with pytest.raises(DisabledRepoError, match="spam or advertising"):
        HfApi(endpoint=live_server.url, token=False).model_info("owner/sums")


def test_the_page_is_for_moderators(as_owner: Client, anonymous: Client, as_friend: Client, sums: Adapter, moderator: User) -> None:
    as_friend.post("/owner/sums/report", {"reason": "spam"})
    number = Report.objects.get().pk
    assert as_owner.get("/moderation").status_code == 403 and anonymous.get("/moderation").status_code == 302
    for path, sent in ((f"/moderation/reports/{number}", {"decision": "dismiss"}), ("/moderation/undo", {"what": "account", "of": "friend"})):
        assert as_owner.post(path, sent).status_code == 403 and anonymous.post(path, sent).status_code == 302
    assert Report.objects.get().status == "open" and "/moderation" not in page(as_owner.get("/"))
    assert "/moderation" in page(client(moderator).get("/"))


def test_a_reported_comment(as_stranger: Client, sums: Adapter, friend: User, moderator: User) -> None:
    comment = comments.add(actor=friend, adapter=sums, body="rude words")
    address = f"/owner/sums/comments/{comment.pk}/report"
    assert address in page(as_stranger.get("/owner/sums")) and "rude words" in page(as_stranger.get(address))
    as_stranger.post(address, {"reason": "abuse"})
    comments.edit(actor=friend, comment=comment, body="sweet words")
    staff = client(moderator)
    assert "rude words" in page(staff.get("/moderation")) and "sweet words" in page(staff.get("/moderation"))
    number = Report.objects.get().pk
    assert staff.post(f"/moderation/reports/{number}", {"decision": "take-down"}).status_code == 400, "a comment is no adapter"
    staff.post(f"/moderation/reports/{number}", {"decision": "suspend"})
    assert not User.objects.get(pk=friend.pk).is_active and Report.objects.get().status == "open"
    staff.post("/moderation/undo", {"what": "account", "of": "friend"})
    staff.post(f"/moderation/reports/{number}", {"decision": "hide"})
    assert "hidden by the hub" in text(as_stranger.get("/owner/sums")) and "sweet words" not in page(as_stranger.get("/owner/sums"))
    staff.post("/moderation/undo", {"what": "comment", "of": comment.pk})
    assert Comment.objects.get().gone == ""
    assert staff.post(f"/moderation/reports/{number}", {"decision": "dismiss"}).status_code == 404, "it is decided"


def test_a_suspended_account_is_out_at_once(as_friend: Client, friend: User, moderator: User) -> None:
    assert as_friend.get("/settings/tokens").status_code == 200
    moderation.suspend(actor=moderator, person=friend, reason="spam")
    assert as_friend.get("/settings/tokens").status_code == 302
    assert as_friend.get("/friend").status_code == 404
