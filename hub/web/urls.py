"""Addresses of the pages. Pages of people and adapters come last: their names are free, all others are reserved."""

from django.urls import URLPattern, URLResolver, include, path

from hub.web import adapter_settings, adapters, base_models, belongings, browse, compose, compositions, device, home, organizations, settings, upload

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
    path("settings/organizations", belongings.mine, name="organization-list"),
    path("settings/organizations/<slug:organization>/answer", belongings.answer_invitation, name="invitation-answer"),
    path("settings/deleted", belongings.deleted, name="deleted-list"),
    path("settings/deleted/<slug:owner>/<str:name>/restore", belongings.restore, name="deleted-restore"),
    path("settings/deleted/<slug:owner>/<str:name>/purge", belongings.purge, name="deleted-purge"),
    path("settings/offers/<slug:owner>/<str:name>", belongings.answer_offer, name="offer-answer"),
    path("settings/log", belongings.history, name="log"),
    path("<slug:owner>", adapters.user, name="user-detail"),
    path("<slug:owner>/settings", organizations.settings, name="organization-settings"),
    path("<slug:owner>/settings/name", organizations.rename, name="organization-rename"),
    path("<slug:owner>/settings/invite", organizations.invite, name="organization-invite"),
    path("<slug:owner>/settings/withdraw", organizations.withdraw, name="organization-withdraw"),
    path("<slug:owner>/settings/member", organizations.member, name="organization-member"),
    path("<slug:owner>/settings/delete", organizations.delete, name="organization-delete"),
    path("<slug:owner>/settings/log", organizations.history, name="organization-log"),
    path("<slug:owner>/<str:name>", adapters.detail, name="adapter-detail"),
    path("<slug:owner>/<str:name>/files/<path:path>", adapters.file, name="adapter-file"),
    path("<slug:owner>/<str:name>/like", adapters.like, name="adapter-like"),
    path("<slug:owner>/<str:name>/access", adapters.ask, name="adapter-ask"),
    path("<slug:owner>/<str:name>/revisions", adapters.revisions, name="adapter-revisions"),
    path("<slug:owner>/<str:name>/settings", adapter_settings.change, name="adapter-settings"),
    path("<slug:owner>/<str:name>/settings/delete", adapter_settings.delete, name="adapter-delete"),
    path("<slug:owner>/<str:name>/settings/access", adapter_settings.let_in, name="adapter-let-in"),
    path("<slug:owner>/<str:name>/settings/name", adapter_settings.rename, name="adapter-rename"),
    path("<slug:owner>/<str:name>/settings/transfer", adapter_settings.transfer, name="adapter-transfer"),
    path("<slug:owner>/<str:name>/settings/withdraw", adapter_settings.withdraw, name="adapter-withdraw"),
    path("<slug:owner>/<str:name>/settings/archive", adapter_settings.archive, name="adapter-archive"),
    path("<slug:owner>/<str:name>/settings/log", adapter_settings.history, name="adapter-log"),
    path("<slug:owner>/<str:name>/zip", adapters.archive, name="adapter-zip"),
]
