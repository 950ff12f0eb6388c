"""Comments on the page of an adapter: the panel, and the forms that work without scripts."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from hub.errors import HubError
from hub.models import Adapter, Comment
from hub.services import access, adapters, comments, tallies
from hub.web import markdown

PAGE = 40


def panel(request: HttpRequest, adapter: Adapter, as_of: str = "", **more: Any) -> dict[str, Any]:
    """Return what the panel shows: one page of comments, each with what the asker may do about it."""
    cursor = request.GET.get("comments", "")

    def drawn(last: str) -> tuple[list[tuple[Comment, str]], str]:
        found, following = comments.page(actor=request.user, adapter=adapter, limit=PAGE, cursor=cursor)
        return [(comment, markdown.comment(comment.body)) for comment in found], following

    found, following = tallies.shared(request.user, f"comments:{adapter.pk}:{PAGE}:{cursor}", drawn, as_of)
    is_mine = request.user.is_authenticated and (request.user.is_staff or access.may_manage(request.user, adapter))
    rows = [
        {"comment": c, "html": html, "is_author": c.author_id == request.user.pk, "may_delete": is_mine or c.author_id == request.user.pk} for c, html in found
    ]
    return {"adapter": adapter, "comments": rows, "comments_next": following, "comments_cursor": cursor, "comment_limit": comments.MAX_BODY, **more}


@require_http_methods(["GET", "HEAD", "POST"])
def listing(request: HttpRequest, owner: str, name: str) -> HttpResponse:
    """Show the comments by themselves, or add one."""
    if request.method == "POST":
        access.require_login(request.user)
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    if request.method != "POST":
        return render(request, "adapters/comments.html", panel(request, adapter))
    body, number = request.POST.get("body", ""), request.POST.get("reply_to", "")
    try:
        reply_to = comments.find(actor=request.user, adapter=adapter, number=int(number)) if number.isdecimal() and len(number) < 19 else None
        comment = comments.add(actor=request.user, adapter=adapter, body=body, reply_to=reply_to)
    except HubError as error:
        said = {"comment_error": error.message, "comment_body": body, "comment_reply": number}
        return _answer(request, adapter, said, error.status)
    if request.htmx:  # type: ignore[attr-defined]
        return _answer(request, adapter, {"comment_fresh": comment.pk}, 200)
    return redirect(f"{_page(adapter)}#comment-{comment.pk}")


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, owner: str, name: str, number: int) -> HttpResponse:
    """Show and save a comment of one's own."""
    comment = _find(request, owner, name, number)
    body, wrong = request.POST.get("body", comment.body), ""
    if comment.author_id != request.user.pk:
        raise HubError("forbidden", f"Only {comment.author.username} can change this comment.", status=403)
    if request.method == "POST":
        try:
            comments.edit(actor=request.user, comment=comment, body=body)
            return redirect(f"{_page(comment.adapter)}#comment-{comment.pk}")
        except HubError as error:
            wrong = error.message
    context = {"adapter": comment.adapter, "comment": comment, "body": body, "wrong": wrong, "comment_limit": comments.MAX_BODY}
    return render(request, "adapters/comment_edit.html", context, status=400 if wrong else 200)


@require_POST
def delete(request: HttpRequest, owner: str, name: str, number: int) -> HttpResponse:
    """Delete a comment."""
    comment = _find(request, owner, name, number)
    comments.delete(actor=request.user, comment=comment)
    messages.success(request, "The comment is deleted.")
    return redirect(f"{_page(comment.adapter)}#comments")


def _find(request: HttpRequest, owner: str, name: str, number: int) -> Comment:
    access.require_login(request.user)
    adapter = adapters.find(actor=request.user, repo_id=f"{owner}/{name}")
    return comments.find(actor=request.user, adapter=adapter, number=number)


def _page(adapter: Adapter) -> str:
    return reverse("adapter-detail", args=[adapter.owner.username, adapter.name])


def _answer(request: HttpRequest, adapter: Adapter, said: dict[str, Any], status: int) -> HttpResponse:
    """Answer with the panel for htmx, which takes a page with an error only where it is called a success; else with a whole page."""
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "adapters/_comments.html", panel(request, adapter, **said))
    return render(request, "adapters/comments.html", panel(request, adapter, **said), status=status)
