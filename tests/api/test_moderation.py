"""Moderators read and decide over the API; nobody else learns anything there."""

import pytest

from hub.models import Adapter, User
from hub.services import comments, reports
from tests.api.conftest import V1, Api, client

pytestmark = pytest.mark.django_db


@pytest.fixture
def moderator(owner: User) -> User:
    return User.objects.create_user("moderator", email="moderator@example.org", is_staff=True)


def test_from_report_to_takedown_and_back(sums: Adapter, friend: User, moderator: User) -> None:
    reports.report_adapter(actor=friend, adapter=sums, reason="rights", text="Mine.")
    staff = client(moderator)
    (case,) = staff.get(f"{V1}/moderation/reports").json()["items"]
    assert (case["adapter"], case["comment"], case["person"]) == (sums.repo_id, None, "owner")
    (report,) = case["reports"]
    assert (report["reporter"], report["reason"], report["text"]) == ("friend", "rights", "Mine.")
    address = f"/moderation/reports/{report['id']}"
    assert staff.json("post", address, {"decision": "hide"}).json()["error"]["code"] == "decision-invalid"
    assert staff.json("post", address, {"decision": "burn"}).status_code == 400
    assert staff.json("post", address, {"decision": "take-down", "reason": "harm", "text": "It runs code."}).json() == {"done": "owner/sums is taken down."}
    assert client(friend).get(f"{V1}/adapters/owner/sums").status_code == 410
    (down,) = staff.get(f"{V1}/moderation/takedowns").json()["items"]
    assert (down["adapter"], down["reason"], down["text"], down["by"]) == ("owner/sums", "harm", "It runs code.", "moderator")
    assert staff.json("post", "/moderation/undo", {"what": "adapter", "of": down["number"]}).json() == {"done": "owner/sums is back."}
    assert client(friend).get(f"{V1}/adapters/owner/sums").status_code == 200
    assert staff.get(f"{V1}/moderation/reports").json() == {"items": []} and staff.json("post", address, {"decision": "dismiss"}).status_code == 404


def test_a_comment_is_hidden_and_shown_again(sums: Adapter, owner: User, friend: User, moderator: User) -> None:
    comment = comments.add(actor=friend, adapter=sums, body="buy")
    report = reports.report_comment(actor=owner, comment=comment, reason="spam")
    staff = client(moderator)
    assert staff.get(f"{V1}/moderation/reports").json()["items"][0]["quote"] == "buy"
    assert staff.json("post", f"/moderation/reports/{report.pk}", {"decision": "hide"}).status_code == 200
    comment.refresh_from_db()
    assert comment.gone == "hidden"
    assert staff.json("post", "/moderation/undo", {"what": "comment", "of": str(comment.pk)}).status_code == 200
    comment.refresh_from_db()
    assert comment.gone == ""


def test_others_are_refused(sums: Adapter, owner: User, friend: User) -> None:
    report = reports.report_adapter(actor=friend, adapter=sums, reason="spam")
    calls = {"reports": None, "takedowns": None, f"reports/{report.pk}": {"decision": "dismiss"}, "undo": {"what": "adapter", "of": str(sums.pk)}}
    for who, status in ((None, 401), (friend, 403), (owner, 403)):
        for path, body in calls.items():
            api = Api() if who is None else client(who)
            answer = api.get(f"{V1}/moderation/{path}") if body is None else api.json("post", f"/moderation/{path}", body)
            assert answer.status_code == status, (path, who)
    report.refresh_from_db()
    assert report.status == "open"
