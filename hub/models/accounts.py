"""People and their access tokens."""

import re

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower
from knox.models import AbstractAuthToken

USERNAME = re.compile(r"[a-z0-9](?:[a-z0-9]|-(?=[a-z0-9])){0,38}")
NAMESPACE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,37}[A-Za-z0-9])?")
# First path segments that are pages, so that /<owner>/<name> never meets one.
RESERVED_USERNAMES = frozenset(
    [
        "about",
        "account",
        "accounts",
        "adapter",
        "adapters",
        "admin",
        "api",
        "assets",
        "auth",
        "base-models",
        "blog",
        "browse",
        "cas",
        "collections",
        "compose",
        "compositions",
        "datasets",
        "docs",
        "explore",
        "favicon",
        "help",
        "healthz",
        "home",
        "join",
        "kernels",
        "lfs",
        "login",
        "logout",
        "me",
        "medley",
        "metrics",
        "models",
        "moderation",
        "new",
        "notifications",
        "oauth",
        "oauth2",
        "organizations",
        "orgs",
        "papers",
        "pricing",
        "privacy",
        "robots",
        "search",
        "security",
        "settings",
        "signup",
        "spaces",
        "static",
        "status",
        "support",
        "tags",
        "tasks",
        "terms",
        "tokens",
        "upload",
        "uploads",
        "user",
        "users",
        "v1",
        "well-known",
        "whoami",
        "xet",
    ]
)


def validate_username(value: str) -> None:
    """Accept a name that can be the first part of an adapter's id."""
    if not USERNAME.fullmatch(value):
        raise ValidationError("A user name has 1 to 39 lower-case letters, digits and single hyphens, and starts and ends with a letter or digit.")
    if value in RESERVED_USERNAMES:
        raise ValidationError("This user name is reserved. Choose another one.")


username_validators = [validate_username]


class User(AbstractUser):  # type: ignore[django-manager-missing]  # the plugin does not find the manager behind the abstract token
    """A person, an organisation or a namespace; its name is the owner part of adapter ids. Only people can log in: the other two are closed accounts."""

    username = models.CharField(max_length=39, unique=True, validators=username_validators, error_messages={"unique": "This user name is taken."})
    is_namespace = models.BooleanField(default=False, help_text="A name, written as others write it, under which the hub's operators host base models.")
    is_organization = models.BooleanField(default=False, help_text="It belongs to its members; nobody logs in as it.")

    about = models.CharField(max_length=500, blank=True, help_text="What an organisation or a person says of itself.")
    display_name = models.CharField(max_length=60, blank=True, help_text="As people call them.")
    website = models.URLField(max_length=200, blank=True)

    has_unread = True  # False for one who is logged in and was found to have no notification unread, whether or not they may still see what it is about

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["email"], condition=~models.Q(email=""), name="email_once"),
            # Clients ask for owner/name in any case: no two names may differ by case alone.
            models.UniqueConstraint(Lower("username"), name="username_once", violation_error_message="This user name is taken."),
        ]

    def get_full_name(self) -> str:
        """Return the name that people call them by, or nothing."""
        return self.display_name


class FormerAccountName(models.Model):
    """A name that an organisation had before; ids under it lead on, and nobody else can have it."""

    name = models.CharField(max_length=39)
    account = models.ForeignKey(User, models.CASCADE, related_name="former_account_names")

    class Meta:
        constraints = [models.UniqueConstraint(Lower("name"), name="former_account_name_once")]

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """What a member of an organisation may do; each may what those after it may."""

    OWNER = "owner", "Owner"
    WRITER = "writer", "Writer"
    READER = "reader", "Reader"


class Membership(models.Model):
    """A person belongs to an organisation. One row per member; an invitation is none."""

    organization = models.ForeignKey(User, models.CASCADE, related_name="members")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=6, choices=Role)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["organization", "user"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user.username} in {self.organization.username}"


class Invitation(models.Model):
    """A person is asked to join an organisation; until they accept it gives them nothing."""

    organization = models.ForeignKey(User, models.CASCADE, related_name="invitations")
    user = models.ForeignKey(User, models.CASCADE, related_name="invited_to")
    role = models.CharField(max_length=6, choices=Role)
    by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["organization", "user"], name="invitation_once")]

    def __str__(self) -> str:
        return f"{self.user.username} into {self.organization.username}"


class AccessToken(AbstractAuthToken):
    """A bearer token, stored as its hash."""

    class Scope(models.TextChoices):
        """What a token lets its bearer do."""

        READ = "read", "Read"
        WRITE = "write", "Read and write"

    name = models.CharField(max_length=60)
    scope = models.CharField(max_length=8, choices=Scope, default=Scope.READ)
    refresh_digest = models.CharField(max_length=64, blank=True, help_text="The hash of what a program that logged in through the browser renews this with.")
    renewed_by = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="+", help_text="The token that took this one's place.")

    class Meta:
        ordering = ["-created"]
        constraints = [models.UniqueConstraint(fields=["refresh_digest"], condition=~models.Q(refresh_digest=""), name="refresh_once")]
