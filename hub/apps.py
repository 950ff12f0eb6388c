"""The Django app."""

from django.apps import AppConfig


class HubConfig(AppConfig):
    """Medley's one app."""

    name = "hub"
    verbose_name = "Medley"

    def ready(self) -> None:
        """Listen to what allauth does to accounts."""
        from hub.services import sign_ins

        sign_ins.connect()
