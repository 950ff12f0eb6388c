"""The Django app."""

from django.apps import AppConfig


class HubConfig(AppConfig):
    """Medley's one app."""

    name = "hub"
    verbose_name = "Medley"
