"""Every address below /api/v1/."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView

from hub.api import adapters, catalogue, commits, compositions, docs, files
from hub.api.base import NoSuchAddress

urlpatterns = [
    path("me", catalogue.WhoAmI.as_view(), name="api-me"),
    path("base-models", catalogue.BaseModels.as_view(), name="api-base-models"),
    path("methods", catalogue.Methods.as_view(), name="api-methods"),
    path("adapters", adapters.Listing.as_view(), name="api-adapters"),
    path("adapters/<str:owner>/<str:name>", adapters.Detail.as_view(), name="api-adapter"),
    path("adapters/<str:owner>/<str:name>/commits", commits.Commits.as_view(), name="api-commits"),
    path("adapters/<str:owner>/<str:name>/revisions", adapters.Revisions.as_view(), name="api-revisions"),
    path("adapters/<str:owner>/<str:name>/files/<path:path>", files.Content.as_view(), name="api-file"),
    path("adapters/<str:owner>/<str:name>/similar", adapters.Similar.as_view(), name="api-similar"),
    path("adapters/<str:owner>/<str:name>/like", adapters.Likes.as_view(), name="api-like"),
    path("compositions", compositions.Listing.as_view(), name="api-compositions"),
    path("compositions/<int:job_id>", compositions.Detail.as_view(), name="api-composition"),
    path("compositions/<int:job_id>/cancel", compositions.Cancel.as_view(), name="api-composition-cancel"),
    path("compositions/<int:job_id>/finish", compositions.Finish.as_view(), name="api-composition-finish"),
    path("schema", SpectacularAPIView.as_view(), name="api-schema"),
    path("docs", docs.page, name="api-docs"),
    re_path(r"^.*$", NoSuchAddress.as_view(), name="api-no-such-address"),
]
