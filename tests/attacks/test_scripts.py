"""Markup in every text that anybody may write, on every page that shows it: it stays text, and nothing runs."""

import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from django.test import Client
from safetensors.numpy import save

from hub.errors import HubError
from hub.models import Adapter, Composition, Import, LogLine, Notification, Revision, User
from hub.services import accounts, adapters, collections, comments, gates, organizations, refs, reports
from tests import make
from tests.attacks import hidden, routes
from tests.conftest import person

pytestmark = pytest.mark.django_db
# Tags, attributes, templates, scripts' strings, addresses, and characters that turn text round.
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)></textarea></title></script><svg/onload=alert(1)>{{7*7}}{% debug %}javascript:alert(1)//\u202e"
SHORT = "\"'><img src=x onerror=alert(1)>"
LINK = "javascript:alert(1)"
CARD = f"""---
license: {json.dumps(SHORT)}
license_link: {LINK}
tags: [{json.dumps(SHORT)}]
language: {json.dumps(SHORT)}
datasets: [{json.dumps(SHORT)}]
pipeline_tag: {json.dumps(SHORT)}
widget: [{{example_title: {json.dumps(EVIL)}, text: {json.dumps(EVIL)}, output: {{text: {json.dumps(EVIL)}}}}}]
model-index: [{{name: {json.dumps(EVIL)}, results: [{{task: {{type: x, name: {json.dumps(EVIL)}}}, dataset: {{type: x, name: {json.dumps(EVIL)}}},
  metrics: [{{type: x, name: {json.dumps(EVIL)}, value: {json.dumps(SHORT)}}}], source: {{name: {json.dumps(EVIL)}, url: "{LINK}"}}}}]}}]
---
# {EVIL}

{EVIL}

[link]({LINK}) ![image]({LINK}) <a href="{LINK}">a</a> ![svg](evil.svg)
"""


class Page(HTMLParser):
    """What a browser would make of a page, as far as it could run something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if any(name.startswith("on") or name in ("srcdoc", "xlink:href") for name in given):
            self.found.append(f"<{tag} {given}>")
        for name in ("href", "src", "action", "formaction", "data", "hx-get", "hx-post"):
            if re.match(r"[\s\x00-\x20]*(javascript|data|vbscript):", given.get(name, ""), re.IGNORECASE):
                self.found.append(f"<{tag} {given}>")
        if tag == "script" and "src" not in given and given.get("type", "") not in ("application/json", "application/ld+json") and "nonce" not in given:
            self.found.append(f"<script {given}>")
        if tag in ("iframe", "object", "embed", "base") or (tag == "img" and given.get("src") == "x"):
            self.found.append(f"<{tag} {given}>")


def weights() -> bytes:
    """Weights whose tensors and metadata are named by an attacker."""
    tensors = make.tensors()
    name = f"base_model.model.model.layers.0.self_attn.{SHORT}.lora_A.weight"
    return save({**tensors, name: np.zeros((4, 32), np.float32)}, metadata={"format": "pt", SHORT: EVIL})


def attacker() -> tuple[User, User, dict[str, Any]]:
    """Somebody who writes it wherever they may, and a victim whose pages show it; what is refused is not there to be shown."""
    evil, victim = person("evil"), person("victim")
    accounts.change_profile(actor=evil, display_name=EVIL[:60], about=EVIL[:200], website="")
    with pytest.raises(HubError):
        accounts.change_profile(actor=evil, display_name="", about="", website=LINK)
    adapter = adapters.create(actor=evil, name="evil")
    config = json.dumps(make.config(base=SHORT, revision=SHORT, inference_mode=True, auto_mapping={SHORT: EVIL}))
    files = {**make.adapter(), "adapter_config.json": config.encode(), "README.md": CARD.encode()}
    commit(evil, adapter, files, EVIL[:200])
    for path in (f"{SHORT}.txt", "evil.svg", "evil.html", "a'b\"c.txt", "x\r\nSet-Cookie: a=b.txt"):
        try:
            commit(evil, adapter, {path: b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"}, EVIL[:200])
        except HubError as error:
            assert "<script" not in error.message or error.status == 400
    try:
        commit(evil, adapter, {"adapter_model.safetensors": weights()}, EVIL[:200])
    except HubError:
        commit(evil, adapter, {"other.txt": EVIL.encode()}, EVIL[:200])
    for make_ref in (refs.create_tag, refs.create_branch):
        try:
            make_ref(actor=evil, adapter=adapter, name=SHORT, **({"message": EVIL} if make_ref is refs.create_tag else {}))
        except HubError:
            continue
    mine = adapters.create(actor=victim, name="mine")
    commit(victim, mine, make.adapter(), "First")
    said = comments.add(actor=evil, adapter=mine, body=EVIL)
    reports.report_adapter(actor=evil, adapter=mine, reason="other", text=EVIL)
    adapters.update(actor=victim, adapter=mine, gated="manual")
    gates.ask(actor=evil, adapter=mine)
    listed = collections.create(actor=evil, title=EVIL[:80], description=EVIL)
    collections.add(actor=evil, collection=listed, adapter=mine, note=EVIL)
    guild = organizations.create(actor=evil, name="guild", about=EVIL)
    organizations.invite(actor=evil, organization=guild, username="victim", role="reader")
    accounts.create_token(actor=victim, name=EVIL[:60], scope="read")
    job = hidden.job_of(victim, Adapter.objects.get(pk=mine.pk), "mix")
    # What a worker or another hub says is theirs to say.
    LogLine.objects.create(composition=job, sentence=EVIL)
    Composition.objects.filter(pk=job.pk).update(status="failed", error_code="x", error_message=EVIL, description=EVIL, summary=EVIL[:100])
    ordered = Import.objects.create(owner=victim, repo_id=SHORT, revision=SHORT, name="x", status="failed", error_code="x", error_message=EVIL, left_out=[EVIL])
    Notification.objects.create(user=victim, kind="invitation", actor=evil, data={"text": EVIL, "path": LINK})
    there = {"owner": "evil", "name": "evil", "slug": listed.slug, "job_id": job.pk, "import_id": ordered.pk, "organization": "guild", "number": said.pk}
    return evil, victim, there


def commit(user: User, adapter: Adapter, files: dict[str, bytes], message: str) -> Revision:
    return adapters.commit(actor=user, adapter=adapter, files=[adapters.Incoming(p, io.BytesIO(d)) for p, d in files.items()], message=message)


def test_no_page_runs_it(admin_user: User) -> None:
    _, victim, there = attacker()
    people = [hidden.clients(user)[0] for user in (victim, admin_user)]
    latest = Notification.objects.filter(user=victim).latest("pk").pk
    spans = "..".join(row.sha[:10] for row in Revision.objects.filter(adapter__name="evil").order_by("pk")[:2])
    shown = 0
    addresses = set()
    for route in routes.of("hub.web", "allauth.account", "allauth.mfa", "allauth.usersessions"):
        for given in (there, {**there, "owner": "victim", "name": "mine"}, {**there, "owner": "guild"}):
            if given["owner"] == "guild" and route.parameters != {"owner"}:
                continue
            values = {**dict.fromkeys(route.parameters, "x"), "span": spans, "path": "README.md", **{k: v for k, v in given.items() if k in route.parameters}}
            addresses.add(route.at(**{**values, **({"number": latest} if route.name == "notification" else {})}))
    for word in (EVIL, SHORT):
        found = {"q": word, "tag": word, "base_model": word, "owner": word, "sort": word, "cursor": word, "before": word, "show": word, "revision": word}
        addresses |= {
            f"{path}?{Client().get('/robots.txt', found).request['QUERY_STRING']}" for path in ("/", "/adapters", "/evil", "/evil/evil", "/collections")
        }
        addresses |= {f"/nothing/{word}", f"/accounts/login/?next={word}", f"/compose?base_model={word}&module=evil/evil", f"/upload?owner={word}"}
    for address in sorted(addresses):
        for client in people:
            answer = client.get(address)
            assert answer.status_code < 500 or answer.status_code == 501, address
            assert "\n" not in str(answer.headers.get("Location", "")) and not str(answer.headers.get("Location", "")).lower().startswith(
                ("javascript", "data")
            )
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                content = answer.content.decode()
                page = Page()
                page.feed(content)
                assert page.found == [], (address, page.found)
                assert "49{%" not in content, address  # a template inside a text is not rendered
                shown += "alert(1)" in content
    assert shown > 40


def test_no_other_answer_is_taken_for_a_page() -> None:
    """JSON, files and errors that hold it come as what they are."""
    _, victim, there = attacker()
    programs = [hidden.clients(victim)[1], Client()]
    names = list(Adapter.objects.get(name="evil").head.files.values_list("path", flat=True))
    files = [f"/evil/evil/{where}/{name}" for where in ("resolve/main", "raw/main", "files") for name in names]
    apis = ["/api/v1/adapters", "/api/v1/adapters/evil/evil", f"/api/v1/adapters?q={SHORT}&sort={SHORT}", f"/api/v1/nothing/{EVIL}", "/api/models/evil/evil"]
    apis += [f"/api/v1/adapters/{SHORT}/x", f"/api/models/evil/evil/tree/{SHORT}", f"/api/models?search={SHORT}&sort={SHORT}", "/api/v1/notifications"]
    apis += [f"/api/models/evil/evil/resolve/main/{SHORT}", f"/api/v1/compositions/{there['job_id']}", f"/api/v1/imports/{there['import_id']}"]
    for client in programs:
        for address in (*files, *apis):
            answer = client.get(address, headers={"Accept": "text/html,*/*"})
            body = b"".join(answer.streaming_content) if answer.streaming else answer.content
            kind = answer["Content-Type"]
            assert answer.status_code < 500 or answer.status_code == 501, address
            assert answer["X-Content-Type-Options"] == "nosniff" and not re.match(
                r"(text/(html|xml|javascript)|image/svg|application/(xhtml|xml|javascript))", kind
            ), address
            if address in files:
                assert "sandbox" in answer["Content-Security-Policy"] and "\n" not in answer["Content-Disposition"]
                assert answer["Content-Disposition"].startswith("attachment") or kind.startswith(("text/plain", "application/octet-stream")), address
            elif answer.status_code != 302:
                assert kind.startswith("application/json"), (address, kind)
                json.loads(body)
    assert not any(name.endswith((".svg", ".html")) or "\n" in name or "\r" in name for name in names)
