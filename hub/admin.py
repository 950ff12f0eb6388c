"""Admin pages: what is running, what failed, why, and who."""

from typing import Any

from allauth.idp.oidc.models import Client, Token
from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from hub.errors import HubError
from hub.models import (
    AccessToken,
    Adapter,
    BaseModel,
    Composition,
    DirectUpload,
    Event,
    Import,
    Membership,
    Profile,
    Report,
    Revision,
    Tag,
    Usage,
    User,
    Worker,
    WorkerToken,
)
from hub.services import audit, jobs, workers

admin.site.site_header = "Medley"
# Programs that may log people in are a list in the code, and their secrets belong to the access tokens below.
admin.site.unregister([Client, Token])


class Recorded(admin.ModelAdmin):
    """What staff change here is in the audit log."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Note what was added, in Django's own log and in ours."""
        audit.record(request.user, "staff.add", obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Note what was changed: the names of fields, not their values."""
        fields = [name for part in message if isinstance(part, dict) for name in part.get("changed", {}).get("fields", [])] if isinstance(message, list) else []
        audit.record(request.user, "staff.change", obj, fields=fields)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Note what is about to be deleted."""
        for obj in queryset:
            audit.record(request.user, "staff.delete", obj)
        return super().log_deletions(request, queryset)


@admin.register(User)
class AccountAdmin(Recorded, UserAdmin):
    """Accounts."""


@admin.register(Usage)
class UsageAdmin(Recorded):
    """What accounts store and may store; an account without a row gets one here, or with its first commit."""

    list_display = ("name", "kind", "bytes", "quota_mb")
    list_filter = ("account__is_organization", ("quota_mb", admin.EmptyFieldListFilter))
    list_select_related = ("account",)
    search_fields = ("account__username",)
    autocomplete_fields = ("account",)
    ordering = ("-bytes",)
    fields = ("account", "bytes", "quota_mb")

    @admin.display(ordering="account__username", description="account")
    def name(self, row: Usage) -> str:
        """Name the account."""
        return row.account.username

    @admin.display
    def kind(self, row: Usage) -> str:
        """Say what it is."""
        return "organisation" if row.account.is_organization else "namespace" if row.account.is_namespace else "person"

    def get_readonly_fields(self, request: HttpRequest, obj: Usage | None = None) -> tuple[str, ...]:
        """Let the quota alone be changed: the count follows from what is stored."""
        return ("account", "bytes") if obj else ("bytes",)

    def has_delete_permission(self, request: object, obj: object = None) -> bool:
        """Refuse: the count would begin at nothing."""
        return False


@admin.register(Tag)
class TagAdmin(Recorded):
    """Tags."""


@admin.register(Membership)
class MembershipAdmin(Recorded):
    """Who is in which organisation; staff can mend one whose owners are gone."""

    list_display = ("organization", "user", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("organization", "user")
    search_fields = ("organization__username", "user__username")


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

    list_display = ("repo_id", "kind", "private", "base_model", "peft_type", "rank", "downloads", "likes", "updated_at", "archived_at", "deleted_at")
    list_filter = ("kind", "private", "composed", "composable", "peft_type", ("deleted_at", admin.EmptyFieldListFilter))
    list_select_related = ("owner",)
    search_fields = ("name", "owner__username")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Adapter]:
        """Show deleted ones too."""
        return Adapter.with_deleted.all()


@admin.register(Composition)
class CompositionAdmin(ReadOnly):
    """Jobs: the failed ones say why."""

    list_display = ("id", "name", "owner", "method", "status", "done", "budget", "worker", "heartbeat_at", "error_code", "created_at")
    list_filter = ("status", "method", "error_code", "anywhere")
    list_select_related = ("owner",)
    search_fields = ("name", "owner__username", "worker")
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


@admin.register(Import)
class ImportAdmin(ReadOnly):
    """Imports: which are on their way, and why some failed."""

    list_display = ("id", "repo_id", "owner", "status", "percent", "heartbeat_at", "error_code", "created_at")
    list_filter = ("status", "error_code")
    list_select_related = ("owner",)
    search_fields = ("repo_id", "name", "owner__username")


@admin.register(DirectUpload)
class DirectUploadAdmin(ReadOnly):
    """Uploads that are on their way to the bucket."""

    list_display = ("sha256", "user", "size", "parts", "created_at")
    list_select_related = ("user",)
    search_fields = ("sha256", "user__username")
    exclude = ("upload",)


@admin.register(Revision)
class RevisionAdmin(ReadOnly):
    """Revisions."""

    list_display = ("sha", "adapter", "author", "message", "created_at")
    list_select_related = ("adapter__owner", "author")


@admin.register(Event)
class EventAdmin(ReadOnly):
    """The audit log, whole."""

    list_display = ("at", "actor", "verb", "subject", "account", "door", "network")
    list_filter = ("door", "kind", "verb")
    list_select_related = ("actor", "account")
    search_fields = ("subject", "actor__username", "account__username")
    date_hierarchy = "at"


@admin.register(AccessToken)
class TokenAdmin(Recorded):
    """Tokens: names and scopes; staff can revoke one."""

    list_display = ("name", "user", "scope", "created", "expiry")
    fields = ("name", "user", "scope", "expiry")
    readonly_fields = ("name", "user", "scope", "expiry")

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Note it as its owner's own revoking is noted; a token's key is its hash, which no log holds."""
        for token in queryset:
            audit.record(request.user, "token.revoke", token.user, name=token.name)
        return super(Recorded, self).log_deletions(request, queryset)

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


@admin.register(Report)
class ReportAdmin(ReadOnly):
    """Reports, open and decided; decisions are made on the moderation page."""

    list_display = ("id", "subject", "about_comment", "reason", "status", "decision", "decided_by", "created_at")
    list_filter = ("status", "reason", "about_comment")
    list_select_related = ("decided_by",)
    search_fields = ("subject", "reporter__username", "person__username")


@admin.register(Worker)
class WorkerAdmin(ReadOnly):
    """Who works for the hub: here or elsewhere, on what, and on which job."""

    list_display = ("name", "where", "device", "serves", "warm", "runs", "seen_at")
    list_filter = ("device", "token")
    list_select_related = ("token",)
    ordering = ("-seen_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        """Look the jobs up in the same query."""
        return Worker.objects.with_job()

    @admin.display(description="where")
    def where(self, row: Worker) -> str:
        """Say whose machine it is, and how far it is trusted."""
        return "beside the hub" if row.token is None else f"{row.token.name}, {'trusted' if row.token.trusted else 'lent'}"

    @admin.display(description="base models")
    def serves(self, row: Worker) -> str:
        """Say what it takes jobs for."""
        return ", ".join(row.bases or (row.token.bases if row.token else [])) or "all"

    @admin.display(description="job")
    def runs(self, row: Worker) -> int | None:
        """Say which job it runs."""
        return row.job  # type: ignore[attr-defined,no-any-return]


class WorkerTokenForm(forms.ModelForm):
    """What an operator says of a new token."""

    bases = forms.CharField(required=False, help_text="Base models that it may serve, separated by commas, such as acme/*; empty is all.")

    class Meta:
        model = WorkerToken
        fields = ("name", "bases", "trusted")

    def clean_name(self) -> str:
        """Refuse names that the verb refuses."""
        name = str(self.cleaned_data["name"])
        if not workers.NAME.fullmatch(name):
            raise ValidationError("1 to 40 letters, digits and ._-, and a letter or digit first.")
        return name

    def clean_bases(self) -> list[str]:
        """Return the patterns."""
        try:
            return workers.clean_bases(self.cleaned_data["bases"].split(","))
        except HubError as error:
            raise ValidationError(error.message) from error


@admin.register(WorkerToken)
class WorkerTokenAdmin(admin.ModelAdmin):
    """Tokens of machines elsewhere: made here, shown once, and revoked by deleting them."""

    list_display = ("name", "trusted", "bases", "created_by", "created_at")
    list_select_related = ("created_by",)
    form = WorkerTokenForm

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        """Refuse: make another one instead."""
        return False

    def save_model(self, request: HttpRequest, obj: WorkerToken, form: Any, change: bool) -> None:
        """Make the token by its verb."""
        made, text = workers.create_token(actor=request.user, name=obj.name, bases=obj.bases, trusted=obj.trusted)
        obj.pk, obj.digest = made.pk, text  # the answer shows the text, once; the row has its hash

    def response_add(self, request: HttpRequest, obj: WorkerToken, post_url_continue: str | None = None) -> HttpResponse:
        """Show the token's text, which is kept nowhere."""
        return TemplateResponse(request, "admin/worker_token.html", {**self.admin_site.each_context(request), "title": "New worker token", "token": obj})

    def delete_model(self, request: HttpRequest, obj: WorkerToken) -> None:
        """Revoke it by its verb."""
        workers.revoke_token(actor=request.user, token=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[WorkerToken]) -> None:
        """Revoke them by their verb."""
        for token in queryset:
            workers.revoke_token(actor=request.user, token=token)
