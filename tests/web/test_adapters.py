"""Pages of adapters: list, detail, files, likes, settings, people."""

import io
import zipfile

import pytest
from django.test import Client

from hub.models import Adapter, User
from hub.services import adapters, lifecycle
from tests import make
from tests.conftest import Upload, commit
from tests.web.conftest import client, compose, page, text


def test_the_list_works(anonymous: Client, sums: Adapter) -> None:
    said = text(anonymous.get("/adapters"))
    assert "1 adapter" in said and "owner/ sums" in said and "Adds small numbers." in said and "arithmetic" in said


def test_an_empty_list_says_what_to_do(anonymous: Client) -> None:
    assert "There are no adapters yet" in page(anonymous.get("/adapters"))


def test_filters_combine(anonymous: Client, owner: User, friend: User, upload: Upload, sums: Adapter) -> None:
    upload(friend, "digits", tags=("arithmetic",), base="other/base", seed=2)
    compose(owner, {sums: 1.0})

    def names(query: str) -> set[str]:
        html = page(anonymous.get(f"/adapters?{query}"))
        return {name for name in ("owner/sums", "friend/digits", "owner/mix") if f'href="/{name}"' in html}

    assert names("") == {"owner/sums", "friend/digits", "owner/mix"}
    assert names("tag=arithmetic") == {"owner/sums", "friend/digits"}
    assert names("tag=arithmetic&owner=friend") == {"friend/digits"}
    assert names("base_model=other/base") == {"friend/digits"}
    assert names("made=composed") == {"owner/mix"}
    assert names("made=uploaded&q=small") == {"owner/sums"}
    assert names("q=nothinglikeit") == set()
    assert "No adapter matches" in page(anonymous.get("/adapters?q=nothinglikeit"))


def test_odd_queries_are_no_errors(anonymous: Client, sums: Adapter) -> None:
    for query in ("sort=odd", "made=odd", "q=%00", "q=" + "x" * 5000, "owner=%FF", "tag=%27%22%3C", "q=%25_"):
        assert anonymous.get(f"/adapters?{query}").status_code == 200, query
    assert anonymous.get("/adapters?cursor=odd").status_code == 400


def test_nul_and_odd_characters_find_nothing(as_owner: Client, sums: Adapter) -> None:
    for address in (
        *("/adapters?tag=%00", "/adapters?owner=%00", "/adapters?base_model=%00", "/adapters?q=a%00b", "/adapters?q=%ED%A0%80", "/adapters?cursor=%00"),
        *("/owner/%00", "/owner/su%00ms", "/owner/sums?revision=%00", "/owner/sums?revision=" + "a" * 9000, "/owner/sums/files/%00", "/owner/sums/files/a%00b"),
        *(
            "/upload?to=owner/%00",
            "/compose?module=owner/%00",
            "/compose?base_model=%00",
            "/compose/modules?base_model=%00&modules=a/%00&find=%00",
            "/compose?from=%00",
        ),
        *("/compositions?before=%00", "/owner?cursor=%00"),
    ):
        assert as_owner.get(address).status_code in (200, 400, 404), address


def test_nul_in_forms_is_refused_in_words(as_owner: Client, sums: Adapter) -> None:
    for address, given in (
        ("/upload", {"name": "a\x00b", "tags": "a\x00b", "message": "a\x00b"}),
        ("/owner/sums/settings", {"tags": "a\x00b"}),
        ("/owner/sums/settings/delete", {"confirm": "a\x00b"}),
        (
            "/compose",
            {"name": "a\x00b", "base_model": "a\x00b", "description": "a\x00b", "text": "a\x00b\tc", "how": "pick", "modules": ["a/\x00"], "method": "medley"},
        ),
        ("/settings/tokens", {"name": "a\x00b", "scope": "read"}),
    ):
        assert as_owner.post(address, given).status_code == 400, address
    assert as_owner.post("/settings/tokens/revoke", {"digest": "a\x00b"}).status_code == 404
    assert Adapter.objects.count() == 1


def test_pages_follow_each_other(anonymous: Client, owner: User, upload: Upload, monkeypatch) -> None:
    monkeypatch.setattr("hub.web.adapters.PAGE", 2)
    for number in range(5):
        upload(owner, f"n{number}", seed=number)
    seen, address = [], "/adapters?sort=recent&owner=owner"
    for _ in range(3):
        html = page(anonymous.get(address))
        seen += [f"n{number}" for number in range(5) if f'href="/owner/n{number}"' in html]
        if 'rel="next"' not in html:
            break
        address = "/adapters" + html.split('rel="next"')[0].rpartition('href="')[2].split('"')[0].replace("&amp;", "&")
        assert "owner=owner" in address
    assert sorted(seen) == ["n0", "n1", "n2", "n3", "n4"]


def test_what_is_searched_for_is_shown_as_text(anonymous: Client) -> None:
    html = page(anonymous.get("/adapters?q=<script>alert(1)</script>"))
    assert "<script>alert" not in html and "&lt;script&gt;alert" in html


def test_the_adapter_page_works(anonymous: Client, sums: Adapter) -> None:
    html = page(anonymous.get("/owner/sums"))
    said = text(anonymous.get("/owner/sums"))
    assert "<h3" in html and "Adds small numbers." in said
    assert "Rank, alpha 4, 8" in said and "tiny/llama" in said and "apache-2.0" in said
    assert "adapter_model.safetensors" in said and "Can be used in mixes." in said
    assert sums.head.short in said and "PeftModel.from_pretrained" in said
    for row in sums.head.files.all():
        assert row.blob_id in html


def test_names_in_other_case_lead_to_the_page(anonymous: Client, sums: Adapter) -> None:
    assert anonymous.get("/owner/SUMS")["Location"] == "/owner/sums"


def test_a_revision_has_an_address(anonymous: Client, sums: Adapter) -> None:
    first = sums.head
    commit(sums, {"README.md": b"# Better sums\n\nAdds large numbers.\n"})
    assert "Adds large numbers." in text(anonymous.get("/owner/sums"))
    old = text(anonymous.get(f"/owner/sums?revision={first.short}"))
    assert "Adds small numbers." in old and "You see revision" in old
    assert anonymous.get("/owner/sums?revision=abcdef0").status_code == 404
    both = text(anonymous.get("/owner/sums/revisions"))
    assert first.short in both and Adapter.objects.get().head.short in both


def test_an_empty_adapter_says_how_to_fill_it(as_owner: Client, anonymous: Client, owner: User) -> None:
    adapters.create(actor=owner, name="soon")
    assert 'href="/upload?to=owner/soon"' in page(as_owner.get("/owner/soon"))
    assert "upload?to" not in page(anonymous.get("/owner/soon"))
    assert anonymous.get("/owner/soon/zip").status_code == 404


def test_an_adapter_that_cannot_be_mixed_says_why(anonymous: Client, owner: User, upload: Upload) -> None:
    adapter = upload(owner, "dora", use_dora=True)
    assert not adapter.composable
    assert adapter.head.facts["refusal"] in text(anonymous.get("/owner/dora"))


def test_a_card_alone_is_no_adapter_yet(anonymous: Client, owner: User, upload: Upload) -> None:
    upload(owner, "words", files={"README.md": b"# Words only\n"})
    assert "holds no weights" in text(anonymous.get("/owner/words"))


def test_a_file_without_a_card(anonymous: Client, as_owner: Client, owner: User, upload: Upload) -> None:
    upload(owner, "bare")
    assert "There is no card" in page(anonymous.get("/owner/bare")) and "Add a README.md" in page(as_owner.get("/owner/bare"))


def test_lineage_and_scores(anonymous: Client, owner: User, sums: Adapter, upload: Upload) -> None:
    compose(owner, {sums: 0.9, upload(owner, "units", seed=3): -0.25})
    said = text(anonymous.get("/owner/mix"))
    assert "+0.90" in said and "\u22120.25" in said and f"owner, {sums.head.short}" in said
    assert "33 of 58" in said and "0.44\u20130.69" in said
    assert "Used in" in text(anonymous.get("/owner/sums")) and 'href="/owner/mix"' in page(anonymous.get("/owner/sums"))


def test_a_deleted_parent_keeps_its_name(anonymous: Client, owner: User, sums: Adapter) -> None:
    compose(owner, {sums: 0.9}, scores={})
    lifecycle.delete(actor=owner, adapter=sums)
    said = text(anonymous.get("/owner/mix"))
    assert "deleted since" in said and "sums" in said and 'href="/owner/sums' not in page(anonymous.get("/owner/mix"))


def test_files_download(anonymous: Client, sums: Adapter) -> None:
    response = anonymous.get("/owner/sums/files/adapter_model.safetensors")
    assert b"".join(response.streaming_content) == make.adapter()["adapter_model.safetensors"]
    assert response["Content-Disposition"].startswith("attachment") and response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]
    part = anonymous.get("/owner/sums/files/adapter_model.safetensors", headers={"Range": "bytes=0-7"})
    assert part.status_code == 206 and len(b"".join(part.streaming_content)) == 8
    assert anonymous.get("/owner/sums/files/nothing.txt").status_code == 404
    assert anonymous.get("/owner/sums/files/../../etc/passwd").status_code == 404


def test_an_old_file_downloads(anonymous: Client, sums: Adapter) -> None:
    first = sums.head
    commit(sums, {"README.md": b"# New\n"})
    assert b"".join(anonymous.get("/owner/sums/files/README.md").streaming_content) == b"# New\n"
    assert b"small numbers" in b"".join(anonymous.get(f"/owner/sums/files/README.md?revision={first.sha}").streaming_content)


def test_the_whole_revision_downloads_as_zip(anonymous: Client, sums: Adapter) -> None:
    response = anonymous.get("/owner/sums/zip")
    with zipfile.ZipFile(io.BytesIO(b"".join(response.streaming_content))) as archive:
        assert sorted(archive.namelist()) == ["sums/README.md", "sums/adapter_config.json", "sums/adapter_model.safetensors"]
    sums.refresh_from_db()
    assert sums.downloads == 1


def test_likes(as_friend: Client, anonymous: Client, sums: Adapter) -> None:
    assert as_friend.post("/owner/sums/like", {"on": "1"})["Location"] == "/owner/sums"
    assert as_friend.post("/owner/sums/like", {"on": "1"}).status_code == 302
    sums.refresh_from_db()
    assert sums.likes == 1
    answer = as_friend.post("/owner/sums/like", {"on": "0"}, headers={"HX-Request": "true"})
    assert 'aria-pressed="false"' in page(answer)
    sums.refresh_from_db()
    assert sums.likes == 0
    assert as_friend.get("/owner/sums/like").status_code == 405


def test_a_like_asks_to_log_in_and_comes_back_here(anonymous: Client, sums: Adapter) -> None:
    response = anonymous.post("/owner/sums/like", {"on": "1"}, headers={"Referer": "http://testserver/owner/sums"})
    assert response["Location"] == "/accounts/login/?next=%2Fowner%2Fsums"
    elsewhere = anonymous.post("/owner/sums/like", {"on": "1"}, headers={"Referer": "https://evil.example/x"})
    assert elsewhere["Location"] == "/accounts/login/?next=%2F"
    assert anonymous.post("/owner/sums/like", headers={"HX-Request": "true"})["HX-Redirect"].startswith("/accounts/login/")


def test_settings(as_owner: Client, anonymous: Client, sums: Adapter) -> None:
    assert 'value="arithmetic"' in page(as_owner.get("/owner/sums/settings"))
    assert as_owner.post("/owner/sums/settings", {"private": "1", "tags": "One, two"}).status_code == 302
    sums.refresh_from_db()
    assert sums.private and {tag.name for tag in sums.tags.all()} == {"one", "two"}
    assert anonymous.get("/owner/sums").status_code == 404
    as_owner.post("/owner/sums/settings", {"private": "", "tags": ""})
    assert anonymous.get("/owner/sums").status_code == 200 and not sums.tags.exists()


def test_bad_tags_keep_what_was_typed(as_owner: Client, sums: Adapter) -> None:
    html = page(as_owner.post("/owner/sums/settings", {"private": "1", "tags": "fine, <b>"}), 400)
    assert "&lt;b&gt;" in html and 'aria-invalid="true"' in html and "is not usable" in html
    sums.refresh_from_db()
    assert not sums.private


def test_a_mix_of_a_private_adapter_stays_private(as_owner: Client, owner: User, secret: Adapter) -> None:
    compose(owner, {secret: 1.0}, private=True, scores={})
    html = page(as_owner.post("/owner/mix/settings", {"private": "", "tags": ""}), 400)
    assert "was composed from a private adapter" in html
    assert Adapter.objects.get(name="mix").private


def test_delete_asks_for_the_name(as_owner: Client, sums: Adapter) -> None:
    assert "not the adapter&#x27;s name" in page(as_owner.post("/owner/sums/settings/delete", {"confirm": "other"}), 400)
    assert as_owner.post("/owner/sums/settings/delete", {"confirm": "sums"})["Location"] == "/settings/deleted"
    assert not Adapter.objects.exists()


@pytest.mark.parametrize("path", ["settings", "settings/delete"])
def test_only_the_owner_changes(as_stranger: Client, anonymous: Client, sums: Adapter, secret: Adapter, path: str) -> None:
    assert as_stranger.post(f"/owner/sums/{path}", {"confirm": "sums", "tags": "mine"}).status_code == 403
    assert as_stranger.post(f"/owner/hush-plan/{path}", {"confirm": "hush-plan"}).status_code == 404
    assert anonymous.post(f"/owner/sums/{path}", {"confirm": "sums"})["Location"].startswith("/accounts/login/")
    assert Adapter.objects.count() == 2 and [tag.name for tag in sums.tags.all()] == ["arithmetic"]


def test_a_persons_page(anonymous: Client, as_owner: Client, as_friend: Client, sums: Adapter, friend: User) -> None:
    assert "1 adapter" in text(anonymous.get("/owner")) and 'href="/owner/sums"' in page(anonymous.get("/owner"))
    assert "Nothing public yet" in page(anonymous.get("/friend")) and "You have no adapters yet" in page(as_friend.get("/friend"))
    assert anonymous.get("/nobody").status_code == 404
    User.objects.update(is_active=False, about="Words.")
    assert anonymous.get("/friend").status_code == 404
    closed = page(anonymous.get("/owner"))
    assert "This account is closed." in closed and 'href="/owner/sums"' in closed and "Words." not in closed


def test_a_form_without_token_is_refused(owner: User, sums: Adapter) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(owner)
    paths = ["/owner/sums/like", "/owner/sums/settings", "/owner/sums/settings/delete", "/upload", "/compose", "/settings/tokens", "/settings/tokens/revoke"]
    for path in paths:
        assert "reload the page" in page(strict.post(path, {"confirm": "sums"}), 403), path
    assert Adapter.objects.count() == 1 and client(owner).get("/owner/sums").status_code == 200
