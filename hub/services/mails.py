"""Sends notifications by mail; the workers do that, not the site."""

import logging

from django.conf import settings
from django.core.mail import send_mail

from hub.services import notices, notifications

logger = logging.getLogger(__name__)


def send(*, number: int) -> bool:
    """Send the mail of one notification if it is due, and say whether it went out. One that the mail server did not take stays due."""
    row = notifications.claim_mail(number=number)
    if row is None:
        return False
    told = notices.told(row)
    lines = [told.text, *([told.excerpt] if told.excerpt else []), f"{settings.PUBLIC_URL}{told.path}"]
    foot = f"What you are told of, and how: {settings.PUBLIC_URL}/settings/notifications"
    try:
        send_mail(f"[Medley] {told.text}"[:200].replace("\n", " "), "\n\n".join([*lines, "-- ", foot]), None, [row.user.email])
    except OSError:
        logger.warning("the mail of notification %s did not go out", number, exc_info=True)
        notifications.unclaim_mail(number=number)
        return False
    return True


def send_due() -> int:
    """Send what is due still, and return how many went out."""
    return sum(send(number=number) for number in notifications.due())
