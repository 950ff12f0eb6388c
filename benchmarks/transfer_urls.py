"""The project's addresses and an empty view."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from hub.urls import handler400, handler403, handler404, handler500

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]


def empty(request: HttpRequest) -> HttpResponse:
    """Answer with nothing."""
    return HttpResponse()


urlpatterns = [path("empty", empty), path("", include("hub.urls"))]
