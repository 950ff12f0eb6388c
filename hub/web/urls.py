"""Addresses of the pages. Pages of people and adapters come last: their names are free, all others are reserved."""

from django.urls import URLPattern, URLResolver, include, path

from hub.web import adapters, base_models, browse, compose, compositions, device, home, revisions, settings, upload

# django-allauth looks the page up under its own name to tell programs where it is; none of its other addresses are there.
provider = ([path("device", device.device, name="device_authorization")], "oidc")

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("robots.txt", home.robots, name="robots"),
    path("favicon.ico", home.favicon, name="favicon"),
    path("docs/composition", home.methods, name="methods"),
    path("adapters", browse.listing, name="adapter-list"),
    path("adapters/tags", browse.tags, name="tag-suggestions"),
    path("base-models", base_models.listing, name="base-model-list"),
    path("upload", upload.upload, name="upload"),
    path("compose", compose.compose, name="compose"),
    path("compose/modules", compose.modules, name="compose-modules"),
    path("compose/rows", compose.rows, name="compose-rows"),
    path("compositions", compositions.listing, name="composition-list"),
    path("compositions/<int:job_id>", compositions.detail, name="composition-detail"),
    path("compositions/<int:job_id>/progress", compositions.progress, name="composition-progress"),
    path("compositions/<int:job_id>/cancel", compositions.cancel, name="composition-cancel"),
    path("compositions/<int:job_id>/finish", compositions.finish, name="composition-finish"),
    path("login/", include(([path("", include(provider))], "idp"))),
    path("settings/tokens", settings.tokens, name="token-list"),
    path("settings/tokens/revoke", settings.revoke, name="token-revoke"),
    path("<slug:owner>", adapters.user, name="user-detail"),
    path("<slug:owner>/<str:name>", adapters.detail, name="adapter-detail"),
    path("<slug:owner>/<str:name>/files/<path:path>", adapters.file, name="adapter-file"),
    path("<slug:owner>/<str:name>/like", adapters.like, name="adapter-like"),
    path("<slug:owner>/<str:name>/access", adapters.ask, name="adapter-ask"),
    path("<slug:owner>/<str:name>/revisions", revisions.listing, name="adapter-revisions"),
    path("<slug:owner>/<str:name>/revisions/<str:span>", revisions.diff, name="adapter-diff"),
    path("<slug:owner>/<str:name>/settings", adapters.change, name="adapter-settings"),
    path("<slug:owner>/<str:name>/settings/delete", adapters.delete, name="adapter-delete"),
    path("<slug:owner>/<str:name>/settings/access", adapters.let_in, name="adapter-let-in"),
    path("<slug:owner>/<str:name>/zip", adapters.archive, name="adapter-zip"),
]
