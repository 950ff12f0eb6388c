"""The project's settings without the minute of work that compressing the static files takes; no benchmark asks for those."""

from hub.settings import *  # noqa: F403
from hub.settings import STORAGES

STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
