"""What an owner keeps to themself, one of each kind, and who may not learn of it. Every text of it holds the syllable of MARK."""

import io
import json
from dataclasses import dataclass, field
from typing import Any

from django.http.response import HttpResponseBase
from django.test import Client
from django.utils import timezone

from hub.models import Adapter, Comment, Composition, Import, Notification, Ref, Report, User
from hub.services import accounts, adapters, collections, comments, gates, jobs, lifecycle, organizations, refs, reports
from tests import make
from tests.conftest import commit as committed
from tests.conftest import person

MARK = "hush"
CARD = f"---\nlicense: {MARK}-licence\ntags: [{MARK}tag]\nlanguage: {MARK}lang\n---\n# {MARK.title()}\n\nA {MARK}word inside.\n"
EXAMPLES = [{"input": f"{MARK} {n}", "output": str(n)} for n in range(6)]
ABSENT = 987654
EACH = ("X-Request-Id", "Content-Security-Policy", "Content-Length", "Expires")  # what differs in every answer


@dataclass
class Stage:
    """The people, and the values that addresses and bodies name: as they are, and of things that do not exist."""

    owner: User
    there: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, Any] = field(default_factory=dict)
    outsiders: dict[str, tuple[Client, Client]] = field(default_factory=dict)  # a browser and a program of each

    def both(self, name: str, there: object, missing: object) -> None:
        """Give a value its name."""
        self.there[name], self.missing[name] = there, missing


def clients(user: User | None) -> tuple[Client, Client]:
    """A browser with a session, and a program with a token that may write."""
    if user is None:
        return Client(), Client()
    browser = Client()
    browser.force_login(user)
    return browser, Client(headers={"Authorization": f"Bearer {accounts.create_token(actor=user, name='a program', scope='write')[1]}"})


def adapter(user: User, name: str, *, private: bool = True, seed: int = 1, **more: Any) -> Adapter:
    """An adapter of two commits, all of it marked."""
    made = adapters.create(actor=user, name=name, private=private, tags=(f"{MARK}label",), **more)
    files = make.adapter(card=CARD, base=f"{MARK}/base", seed=seed)
    files |= {f"{MARK}-notes.txt": f"{MARK}bytes".encode(), f"docs/{MARK}.txt": b"inside"}
    committed_by(user, made, files, f"{MARK}message")
    committed_by(user, made, {"more.txt": b"more"}, f"{MARK}again")
    made.refresh_from_db()
    return made


def committed_by(user: User, to: Adapter, files: dict[str, bytes], message: str) -> None:
    """Commit bytes as this member."""
    adapters.commit(actor=user, adapter=to, files=[adapters.Incoming(path, io.BytesIO(data)) for path, data in files.items()], message=message)


def job_of(user: User, module: Adapter, name: str) -> Composition:
    """A private composition that a worker has begun."""
    made = jobs.submit(
        actor=user, base_model=module.base_model, modules=[module.repo_id], examples=EXAMPLES, name=name, private=True, description=f"{MARK}task"
    )
    Composition.objects.filter(pk=made.pk).update(started_at=timezone.now())
    return made


def stage() -> Stage:
    """Set it all up. The neighbour may do more than a stranger: they read what an organisation of the owner's has, and own another one."""
    owner, friend, guest = person("owner"), person("friend"), person("guest")
    neighbour = person("neighbour")
    found = Stage(owner)
    secret = adapter(owner, f"{MARK}-plan")
    open_one = adapters.create(actor=owner, name="sums")
    committed(open_one, make.adapter(seed=8))
    gated = adapters.create(actor=owner, name="gate")
    committed(gated, make.adapter(seed=9))
    adapters.update(actor=owner, adapter=gated, gated="manual")
    gates.ask(actor=friend, adapter=gated)
    refs.create_branch(actor=owner, adapter=secret, name=f"{MARK}branch")

    guild = organizations.create(actor=owner, name="guild", about="A guild.")
    organizations.invite(actor=owner, organization=guild, username="neighbour", role="reader")
    organizations.answer(actor=neighbour, organization=guild, accept=True)
    organizations.invite(actor=owner, organization=guild, username="guest", role="writer")
    organizations.create(actor=neighbour, name="rivals")

    adapter(owner, f"{MARK}-gone", seed=2)
    lifecycle.delete(actor=owner, adapter=Adapter.objects.get(name=f"{MARK}-gone"))
    gift = adapter(friend, f"{MARK}-gift", seed=3)
    lifecycle.transfer(actor=friend, adapter=gift, to=owner)

    listed = collections.create(actor=owner, title=f"{MARK}list", description=f"{MARK}words", private=True)
    item = collections.add(actor=owner, collection=listed, adapter=open_one, note=f"{MARK}note")
    shown = collections.create(actor=owner, title="Open", private=False)
    collections.add(actor=owner, collection=shown, adapter=secret, note=f"{MARK}aside")
    comment = comments.add(actor=owner, adapter=secret, body=f"{MARK}comment")
    said = comments.add(actor=friend, adapter=open_one, body="Works for me.")
    report = reports.report_adapter(actor=friend, adapter=open_one, reason="spam", text=f"{MARK}report")
    told = Notification.objects.filter(user=owner).first()
    job = job_of(owner, secret, f"{MARK}-mix")
    ordered = Import.objects.create(owner=owner, repo_id=f"{MARK}/lora", revision="main", name=f"{MARK}-lora")
    token = accounts.create_token(actor=owner, name=f"{MARK}token", scope="write")[0]
    assert told is not None

    weights = secret.head.files.select_related("blob").get(path="adapter_model.safetensors").blob
    for name, there, missing in (
        ("owner", "owner", "owner"),
        ("name", secret.name, "null-plan"),
        ("gone", f"{MARK}-gone", "null-gone"),
        ("gift", f"{MARK}-gift", "null-gift"),
        ("base", f"{MARK}/base", "null/base"),
        ("base_id", f"{MARK}base", "nullbase"),
        ("comment", comment.pk, ABSENT),
        ("said", said.pk, ABSENT),
        ("job_id", job.pk, ABSENT),
        ("import_id", ordered.pk, ABSENT),
        ("collection_id", listed.pk, ABSENT),
        ("item_id", item.pk, ABSENT),
        ("slug", listed.slug, f"null{listed.slug[4 : -len(str(listed.pk))]}{ABSENT}"),
        ("hex", f"{item.pk:024x}", f"{ABSENT:024x}"),
        ("notification_id", told.pk, ABSENT),
        ("report", report.pk, ABSENT),
        ("digest", token.digest, "0" * len(token.digest)),
        ("sha", secret.head.sha, "0" * 40),
        ("size", weights.size, weights.size),
        ("blob", weights.sha256, "1" * 64),
        ("span", "..".join(row.sha[:10] for row in secret.revisions.order_by("pk")), "0000000000..1111111111"),
        ("path", f"{MARK}-notes.txt", "null-notes.txt"),
        ("branch", f"{MARK}branch", "nullbranch"),
        ("word", f"{MARK}word", "nullword"),
        ("tag", f"{MARK}tag", "nulltag"),
    ):
        found.both(name, there, missing)
    found.outsiders = {"anonymous": clients(None), "neighbour": clients(neighbour)}
    assert guest and Ref.objects.count() == 1 and Comment.objects.count() == 2 and Report.objects.count() == 1
    return found


def text_of(response: HttpResponseBase) -> str:
    """Everything that an answer says: status, headers and body, without what differs in every answer."""
    body = b"".join(response.streaming_content) if response.streaming else response.content
    headers = {name: value for name, value in response.headers.items() if name not in EACH}
    return f"{response.status_code} {json.dumps(headers, sort_keys=True)}\n{body.decode('utf-8', 'replace')}"
