"""Organisations, members, invitations, offers and the audit log as the API shows them, and the bodies that change them."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from hub.api.bodies import flag, one_of, words
from hub.api.serializers import Storage, list_of, page_of
from hub.models import Membership, Role, User
from hub.services import access, quotas


class MemberItem(serializers.Serializer):
    """A member of an organisation."""

    user = serializers.CharField(source="user.username")
    role = serializers.CharField(help_text="owner, writer or reader")
    since = serializers.DateTimeField(source="created_at")


class OrganizationItem(serializers.Serializer):
    """An organisation that the asker is in."""

    name = serializers.CharField(source="organization.username")
    about = serializers.CharField(source="organization.about")
    role = serializers.CharField(help_text="What you may do there: owner, writer or reader.")


class OrganizationDetail(serializers.Serializer):
    """An organisation."""

    name = serializers.CharField(source="username")
    about = serializers.CharField()
    created_at = serializers.DateTimeField(source="date_joined")
    members = serializers.SerializerMethodField()
    role = serializers.SerializerMethodField(help_text="What you may do there; null where you are no member.")
    storage = serializers.SerializerMethodField(help_text="What it stores and may store, for its owners and writers; null for others.")

    @extend_schema_field(Storage(allow_null=True))
    def get_storage(self, organization: User) -> Any:
        """Return what it stores."""
        return Storage(quotas.of(organization)).data if self.context["role"] in access.WRITERS else None

    def get_members(self, organization: User) -> int:
        """Return how many there are."""
        return Membership.objects.filter(organization=organization).count()

    def get_role(self, organization: User) -> str | None:
        """Return the asker's role."""
        return self.context["role"] or None


class InvitationItem(serializers.Serializer):
    """An invitation that waits for an answer."""

    organization = serializers.CharField(source="organization.username")
    user = serializers.CharField(source="user.username")
    role = serializers.CharField(help_text="owner, writer or reader")
    by = serializers.CharField(source="by.username", default=None, allow_null=True)
    at = serializers.DateTimeField(source="created_at")


class OfferItem(serializers.Serializer):
    """An adapter that waits to be accepted by another account or organisation."""

    id = serializers.CharField(source="adapter.repo_id")
    to = serializers.CharField(source="to.username")
    by = serializers.CharField(source="by.username")
    at = serializers.DateTimeField(source="created_at")


class DeletedItem(serializers.Serializer):
    """A deleted adapter that can be restored."""

    id = serializers.CharField(source="repo_id")
    deleted_at = serializers.DateTimeField()
    until = serializers.DateTimeField(help_text="When it goes for good.")
    size = serializers.IntegerField()


class LogItem(serializers.Serializer):
    """Something that was done."""

    at = serializers.DateTimeField()
    actor = serializers.CharField(source="actor.username", default=None, allow_null=True, help_text="Null for the hub itself, and for accounts that are gone.")
    action = serializers.CharField(source="verb")
    object = serializers.CharField(source="subject", help_text="Its id then, such as acme/my-lora, user:acme or composition:12.")
    door = serializers.CharField(help_text="web, api, hf, admin or server.")
    detail = serializers.DictField(source="data")


class NewOrganization(serializers.Serializer):
    """The body of POST organizations."""

    name = words(200)
    about = words(500, default="")


class OrganizationChange(serializers.Serializer):
    """The body of PATCH organizations/{name}; what is left out stays."""

    name = words(200, required=False)
    about = words(500, required=False)


class NewInvitation(serializers.Serializer):
    """The body of POST organizations/{name}/invitations."""

    user = words(200)
    role = one_of(Role.values, default=Role.READER.value)


class RoleChange(serializers.Serializer):
    """The body of PUT organizations/{name}/members/{user}."""

    role = one_of(Role.values)


class Answer(serializers.Serializer):
    """The body of POST me/invitations/{name} and me/offers/{owner}/{name}."""

    accept = flag()


class Receiver(serializers.Serializer):
    """The body of POST adapters/{owner}/{name}/transfer."""

    to = words(200, help_text="An account or an organisation.")


# Made once: two calls that answer alike share them.
INVITATIONS = list_of(InvitationItem)
LOG = page_of(LogItem)
