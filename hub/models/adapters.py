"""Adapters, their immutable revisions, the blobs behind them, and who was let in to gated ones."""

import hashlib
import re
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower

from hub.models.accounts import Membership

if TYPE_CHECKING:
    from hub.models.accounts import User

    Actor = User | AnonymousUser

ADAPTER_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
NAME_RULE = "An adapter's name has 1 to 96 letters, digits, hyphens, underscores and dots, starts with a letter or digit, and has no double hyphen or dot."
TAG = re.compile(r"[a-z0-9][a-z0-9 ._:+-]{0,49}")
SORTED_BY = ("updated_at", "downloads", "likes", "trend", "created_at")
HEAVY = (  # columns that take longer to read than all others of a list together
    *("card_data", "labels", "detached", "head__facts", "head__model", "head__message"),
    *("owner__password", "owner__email", "owner__first_name", "owner__last_name", "owner__about", "owner__website"),
)
RESERVED_NAMES = frozenset(["settings", "followers", "following", "resolve", "tree", "blob", "raw"])


def is_adapter_name(value: str) -> bool:
    """Say whether Hugging Face clients accept the name."""
    return bool(ADAPTER_NAME.fullmatch(value)) and "--" not in value and ".." not in value and not value.lower().endswith((".git", ".ipynb"))


def validate_adapter_name(value: str) -> None:
    """Accept the names that Hugging Face clients accept too."""
    if not is_adapter_name(value):
        raise ValidationError(NAME_RULE)
    if value.lower() in RESERVED_NAMES:
        raise ValidationError("This name is reserved. Choose another one.")


class BaseModel(models.Model):
    """A frozen model that adapters were trained on, as known to this hub."""

    name = models.CharField(max_length=200, unique=True)
    available_at = models.DateTimeField(null=True, help_text="When a worker last said that it has this base model.")
    repository = models.OneToOneField("Adapter", models.SET_NULL, null=True, related_name="as_base", help_text="Where it is hosted here.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    """A word that people find adapters by."""

    name = models.CharField(max_length=50, unique=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Blob(models.Model):
    """Bytes, stored once under their sha256."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    size = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    condemned_at = models.DateTimeField(null=True, db_index=True, help_text="Since when nothing speaks of it; it goes some time later.")


def belongs_to(user: "Actor", path: str = "owner") -> models.Q:
    """Match what is a person's own, or belongs to an organisation that they are a member of in any role."""
    if not user.is_authenticated:
        return models.Q(pk__in=[])
    mine = Membership.objects.filter(user=user).order_by().values("organization")
    return models.Q(**{path: user}) | models.Q(**{f"{path}__in": mine})


class AdapterQuerySet(models.QuerySet["Adapter"]):
    """Listings of repositories. `adapters` leaves out base models; whatever speaks of adapters begins with it."""

    def adapters(self) -> Self:
        """Keep adapters, and plain repositories that may become adapters."""
        return self.filter(kind=Adapter.Kind.ADAPTER)

    def base_models(self) -> Self:
        """Keep hosted base models."""
        return self.filter(kind=Adapter.Kind.BASE_MODEL)

    def visible_to(self, user: "Actor") -> Self:
        """Keep what `user` may see: everything public, their own, and that of their organisations, but for what was taken down."""
        if user.is_authenticated:
            return self.filter(models.Q(private=False) | belongs_to(user), taken_down=False)
        return self.filter(private=False, taken_down=False)

    def readable_by(self, user: "Actor") -> Self:
        """Keep those of which `user` may have every file: not gated, theirs or their organisations', operators' under nobody's name, or they were let in."""
        rows = self.visible_to(user)
        if not user.is_authenticated:
            return rows.filter(gated="")
        let_in = AccessRequest.objects.filter(user=user, status=AccessRequest.Status.ACCEPTED)
        own = belongs_to(user) | models.Q(owner__is_namespace=True) if user.is_staff else belongs_to(user)
        return rows.filter(models.Q(gated="") | own | models.Q(pk__in=let_in.values("adapter")))

    def published(self) -> Self:
        """Keep adapters that have at least one revision."""
        return self.filter(head__isnull=False)

    def for_listing(self, *, whole: bool = False, tags: bool = True) -> Self:
        """Load what a list shows in a fixed number of queries: without the long texts that no list shows, and without facts and labels unless `whole`."""
        found = (
            self.select_related("owner", "head")
            .prefetch_related("head__parents", *(["tags"] if tags else []))
            .defer("card_text", "head__recipe")
            .annotate(by_layer=models.F("head__profile__by_layer"))
        )
        return found if whole else found.defer(*HEAVY)


class AdapterManager(models.Manager.from_queryset(AdapterQuerySet)):  # type: ignore[misc]
    """What is there: deleted adapters, which their owners may restore for a while, are nowhere but in `Adapter.with_deleted`."""

    def get_queryset(self) -> AdapterQuerySet:
        """Leave out what is deleted."""
        found: AdapterQuerySet = super().get_queryset().filter(deleted_at__isnull=True)
        return found


class Adapter(models.Model):
    """A repository `owner/name` that holds a PEFT adapter, or a base model; the columns below `head` repeat facts of the head revision for listings."""

    class Kind(models.TextChoices):
        """What a repository is."""

        ADAPTER = "adapter", "Adapter"
        BASE_MODEL = "base-model", "Base model"

    class Gate(models.TextChoices):
        """Who is let in to the files of a gated adapter: whoever asks, or whom the owner accepts."""

        AUTO = "auto", "Whoever asks"
        MANUAL = "manual", "Whom the owner accepts"

    kind = models.CharField(max_length=10, choices=Kind, default=Kind.ADAPTER)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="adapters")
    name = models.CharField(max_length=96, validators=[validate_adapter_name])
    private = models.BooleanField(default=False)
    taken_down = models.BooleanField(default=False, help_text="By the hub's moderators; its Takedown says why.")
    gated = models.CharField(max_length=6, choices=Gate, blank=True, default="", help_text="Empty where everyone who sees it may have its files.")
    tags = models.ManyToManyField(Tag, related_name="adapters", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now_add=True)
    likes = models.PositiveIntegerField(default=0)
    downloads = models.PositiveIntegerField(default=0)
    trend = models.PositiveIntegerField(default=0, help_text="Downloads of the last seven days.")
    head = models.ForeignKey("Revision", models.SET_NULL, null=True, blank=True, related_name="+")
    archived_at = models.DateTimeField(null=True, blank=True, help_text="Since when nothing can be committed to it; Medley no longer suggests it.")
    deleted_at = models.DateTimeField(null=True, blank=True, help_text="Since when nobody sees it; it can be restored for a while.")
    detached = models.JSONField(default=list, blank=True, help_text="Of a deleted one: the compositions that it was the result of, as [composition, revision].")

    base_model = models.CharField(max_length=200, blank=True, db_index=True)
    peft_type = models.CharField(max_length=40, blank=True)
    rank = models.PositiveIntegerField(null=True)
    targets = models.CharField(max_length=60, blank=True, default="", help_text="The matrices that it changes, in short: k q v.")
    summary = models.CharField(max_length=300, blank=True)
    card_text = models.TextField(blank=True)
    card_data = models.JSONField(default=dict, blank=True, help_text="The front matter of README.md.")
    labels = models.TextField(blank=True, help_text="What hub.labels says of the head, one a line, with a line break at both ends.")
    licence = models.CharField(max_length=80, blank=True)
    composable = models.BooleanField(default=False)
    composed = models.BooleanField(default=False)
    size = models.BigIntegerField(default=0)

    objects = AdapterManager()
    with_deleted = AdapterQuerySet.as_manager()

    class Meta:
        # Of a deleted one too: its name waits for it.
        constraints = [models.UniqueConstraint("owner", Lower("name"), name="adapter_name_once")]
        indexes = [
            *(models.Index(fields=[f"-{column}", "-id"], name=f"adapter_{column}") for column in ("updated_at", "downloads", "likes", "trend", "created_at")),
            # What can be composed for a base model, the most downloaded first.
            models.Index(fields=["base_model", "-downloads", "id"], condition=models.Q(composable=True), name="adapter_composable"),
        ]

    def __str__(self) -> str:
        return self.repo_id

    @property
    def repo_id(self) -> str:
        """The id `owner/name`."""
        return f"{self.owner.username}/{self.name}"

    @property
    def is_base_model(self) -> bool:
        """Whether this is a hosted base model."""
        return self.kind == self.Kind.BASE_MODEL

    @property
    def root_sha(self) -> str:
        """The id of the state before the first revision, for clients to which every repository is at some commit."""
        return hashlib.sha1(f"adapter {self.pk} without files".encode(), usedforsecurity=False).hexdigest()


class Revision(models.Model):
    """An immutable commit of an adapter."""

    adapter = models.ForeignKey(Adapter, models.CASCADE, related_name="revisions")
    sha = models.CharField(max_length=40, help_text="40 hex digits")
    parent = models.ForeignKey("self", models.SET_NULL, null=True, related_name="+")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    message = models.CharField(max_length=500)
    created_at = models.DateTimeField()
    facts = models.JSONField(null=True, help_text="What adapter_format.inspect read, as adapter_format.Facts; null where no weights are there.")
    model = models.JSONField(null=True, help_text="What model_format.inspect read of a base model, as model_format.ModelFacts.")
    recipe = models.JSONField(null=True, help_text="recipe.json of a composed adapter; only the worker's results have one here.")
    scores = models.JSONField(null=True, help_text="Held-out scores of a composed adapter.")
    profile = models.ForeignKey("Profile", models.SET_NULL, null=True, related_name="revisions", help_text="Of its weights, where they are a LoRA.")

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["adapter", "sha"], name="revision_once")]

    def __str__(self) -> str:
        return self.sha

    @property
    def short(self) -> str:
        """The first seven digits."""
        return self.sha[:7]

    @property
    def facts_or_empty(self) -> dict[str, Any]:
        """The inspected facts, or nothing."""
        return self.facts or {}


class RevisionFile(models.Model):
    """A path of a revision."""

    revision = models.ForeignKey(Revision, models.CASCADE, related_name="files")
    path = models.CharField(max_length=255)
    blob = models.ForeignKey(Blob, models.PROTECT, related_name="+")

    class Meta:
        ordering = ["path"]
        constraints = [models.UniqueConstraint(fields=["revision", "path"], name="path_once")]

    def __str__(self) -> str:
        return self.path

    @property
    def size(self) -> int:
        """The bytes of the file."""
        return self.blob.size

    @property
    def adapter(self) -> Adapter:
        """The adapter whose revision this is a file of."""
        return self.revision.adapter


class Parent(models.Model):
    """A module that a composed revision was made from; the id and sha outlive the parent itself."""

    revision = models.ForeignKey(Revision, models.CASCADE, related_name="parents")
    adapter = models.ForeignKey(Adapter, models.SET_NULL, null=True, related_name="uses")
    repo_id = models.CharField(max_length=140)
    sha = models.CharField(max_length=40)
    weight = models.FloatField()
    closed = models.BooleanField(default=False, db_default=False, help_text="Somebody else's, and not for everyone when it was deleted.")

    class Meta:
        ordering = ["id"]

    def is_hidden_from(self, user: "Actor") -> bool:
        """Whether the parent is a private adapter whose name is not for this person."""
        if self.adapter is None:
            return self.closed
        if not self.adapter.private or self.adapter.owner_id == user.pk:
            return False
        return not Adapter.objects.visible_to(user).filter(pk=self.adapter.pk).exists()


class Transfer(models.Model):
    """An owner offers an adapter to another account or organisation, which has to accept it."""

    adapter = models.OneToOneField(Adapter, models.CASCADE, related_name="offer")
    to = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="offers")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.adapter.repo_id} to {self.to.username}"


class AccessRequest(models.Model):
    """A person asks for the files of a gated adapter, or was let in by its owner; once each."""

    class Status(models.TextChoices):
        """What the owner has decided."""

        PENDING = "pending", "Waiting"
        ACCEPTED = "accepted", "Accepted"
        REJECTED = "rejected", "Rejected"

    adapter = models.ForeignKey(Adapter, models.CASCADE, related_name="access_requests")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="access_requests")
    status = models.CharField(max_length=8, choices=Status, default=Status.PENDING)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["adapter", "user"], name="access_request_once")]
