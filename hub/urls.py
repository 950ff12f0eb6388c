"""Every address: health, admin, accounts, and the doors."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path

from hub import health, metrics
from hub.web.accounts import ConfirmEmail, Emails

# The admin's login goes through the same rate limits as everyone's.
admin.autodiscover()
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("healthz/live", health.live, name="live"),
    path("metrics", metrics.metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path("accounts/confirm-email/<str:key>/", ConfirmEmail.as_view(), name="confirm-email"),
    path("accounts/email/", Emails.as_view(), name="email-addresses"),
    path("accounts/", include("allauth.urls")),
    path("api/v1/", include("hub.api.urls")),
    path("", include("hub.hf.urls")),
    path("", include("hub.web.urls")),
]
handler400 = "hub.web.errors.bad_request"
handler403 = "hub.web.errors.forbidden"
handler404 = "hub.web.errors.page_not_found"
handler500 = "hub.web.errors.server_error"
