"""Admin pages: what is running, what failed, why, and who."""

from allauth.idp.oidc.models import Client, Token
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest

from hub.models import AccessToken, Adapter, BaseModel, Composition, Event, Profile, Revision, Tag, User
from hub.services import jobs

admin.site.site_header = "Medley"
admin.site.register(User, UserAdmin)
admin.site.register(Tag)
# Programs that may log people in are a list in the code, and their secrets belong to the access tokens below.
admin.site.unregister([Client, Token])


class ReadOnly(admin.ModelAdmin):
    """Rows that only verbs may change."""

    def has_add_permission(self, request: object) -> bool:
        """Refuse: rows come from verbs."""
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        """Refuse: rows come from verbs."""
        return False

    def has_delete_permission(self, request: object, obj: object = None) -> bool:
        """Refuse: rows come from verbs."""
        return False


@admin.register(Adapter)
class AdapterAdmin(ReadOnly):
    """The catalogue."""

    list_display = ("repo_id", "kind", "private", "base_model", "peft_type", "rank", "downloads", "likes", "updated_at")
    list_filter = ("kind", "private", "composed", "composable", "peft_type")
    list_select_related = ("owner",)
    search_fields = ("name", "owner__username")


@admin.register(Composition)
class CompositionAdmin(ReadOnly):
    """Jobs: the failed ones say why."""

    list_display = ("id", "name", "owner", "method", "status", "done", "budget", "worker", "heartbeat_at", "error_code", "created_at")
    list_filter = ("status", "method", "error_code")
    list_select_related = ("owner",)
    search_fields = ("name", "owner__username")
    exclude = ("examples",)
    actions = ("first", "normal", "last")

    @admin.action(description="Serve before others", permissions=["view"])
    def first(self, request: HttpRequest, rows: QuerySet[Composition]) -> None:
        """Raise the priority of jobs that wait."""
        self._rank(request, rows, Composition.Priority.HIGH)

    @admin.action(description="Serve as usual", permissions=["view"])
    def normal(self, request: HttpRequest, rows: QuerySet[Composition]) -> None:
        """Take a priority back."""
        self._rank(request, rows, Composition.Priority.NORMAL)

    @admin.action(description="Serve after others", permissions=["view"])
    def last(self, request: HttpRequest, rows: QuerySet[Composition]) -> None:
        """Let jobs wait until nobody else does."""
        self._rank(request, rows, Composition.Priority.LOW)

    def _rank(self, request: HttpRequest, rows: QuerySet[Composition], priority: Composition.Priority) -> None:
        for job in rows:
            jobs.prioritise(actor=request.user, job=job, priority=priority)
        self.message_user(request, f"{len(rows)} jobs have {priority.label} priority now.")


@admin.register(Revision)
class RevisionAdmin(ReadOnly):
    """Revisions."""

    list_display = ("sha", "adapter", "author", "message", "created_at")
    list_select_related = ("adapter__owner", "author")


@admin.register(Event)
class EventAdmin(ReadOnly):
    """The event log."""

    list_display = ("at", "actor", "verb", "subject")
    list_filter = ("verb",)
    list_select_related = ("actor",)
    search_fields = ("subject", "actor__username")


@admin.register(AccessToken)
class TokenAdmin(admin.ModelAdmin):
    """Tokens: names and scopes; staff can revoke one."""

    list_display = ("name", "user", "scope", "created", "expiry")
    fields = ("name", "user", "scope", "expiry")
    readonly_fields = ("name", "user", "scope", "expiry")

    def has_add_permission(self, request: object) -> bool:
        """Refuse: a token is shown once, to its owner."""
        return False


@admin.register(BaseModel)
class BaseModelAdmin(ReadOnly):
    """Base models and when a worker last had them."""

    list_display = ("name", "repository", "available_at")
    list_select_related = ("repository__owner",)


@admin.register(Profile)
class ProfileAdmin(ReadOnly):
    """Weight profiles: which wait to be measured, and why some failed."""

    list_display = ("id", "base_model", "status", "attempts", "error_code", "claimed_at")
    list_filter = ("status", "error_code")
    exclude = ("matrices", "values", "fingerprint")
