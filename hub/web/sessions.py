"""Django's sessions in the database, read without its query builder: every page for somebody who is logged in begins with one."""

from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.db.models.functions import Now

from hub.services import prepared


class SessionStore(db.SessionStore):
    """Sessions by the rows and in the format of `django.contrib.sessions.backends.db`."""

    def load(self) -> dict[str, Any]:
        """Return what a session holds; of one that is unknown or has expired, nothing, and it gets another key."""
        row = prepared.first(_lasting, session_key=self.session_key or "")
        if row is None:
            self._session_key = None
            return {}
        found: dict[str, Any] = self.decode(row[0])
        return found


def _lasting(session_key: str) -> QuerySet[Session, tuple[str]]:
    return Session.objects.filter(session_key=session_key, expire_date__gt=Now()).order_by().values_list("session_data")
