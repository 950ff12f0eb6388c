"""The docs page: Swagger UI over our schema, from our own files, under the site's own security policy."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe


@require_safe
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    """Show every call, with a form to try it as whoever is logged in or holds a token."""
    return render(request, "api/docs.html")
