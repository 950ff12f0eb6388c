"""Who is logged in: one query for the person and for whether anything waits for them, as every page for them asks both."""

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.db.models import Exists, OuterRef, QuerySet

from hub.models import Notification, User
from hub.services import prepared

TEXTS = ("username", "password", "email")
FLAGS = ("is_active", "is_staff", "is_superuser", "is_namespace", "is_organization")


class Backend(AuthenticationBackend):
    """Lets people in by name or address, and remembers them with the columns that pages ask for; the others are read when somebody does."""

    def get_user(self, user_id: Any) -> User | None:
        """Return a person whose account is open."""
        row = prepared.first(_open, pk=int(user_id))
        if row is None:
            return None
        texts, flags, waits = row[: len(TEXTS)], map(bool, row[len(TEXTS) : -1]), bool(row[-1])
        user = prepared.load(User, id=int(user_id), **dict(zip(TEXTS, texts, strict=True)), **dict(zip(FLAGS, flags, strict=True)))
        user.has_unread = waits
        return user


def _open(pk: int) -> QuerySet[User, tuple[Any, ...]]:
    waiting = Exists(Notification.objects.filter(user=OuterRef("pk")).listed().unread())
    return User.objects.filter(pk=pk, is_active=True).order_by().values_list(*TEXTS, *FLAGS, waiting)
