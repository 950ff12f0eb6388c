"""The project's settings, with data in a throw-away folder and passwords hashed fast."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

if "MEDLEY_DATA" not in os.environ:  # where it is set, whoever made the folder removes it
    os.environ["MEDLEY_DATA"] = tempfile.mkdtemp(prefix="medley-tests-")
    atexit.register(shutil.rmtree, os.environ["MEDLEY_DATA"], ignore_errors=True)

from hub.settings import *  # noqa: F403
from hub.settings import CACHES, DATA_DIR, DATABASES, STATIC_ROOT, STORAGES

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file: threads of a live server do not share an in-memory database well.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(DATA_DIR) / "test.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
CACHES["pages"] = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}  # tests change rows behind the verbs' backs
IMPORTS = ""  # no test asks a hub that it did not start
STATIC_ROOT.mkdir(exist_ok=True)  # whitenoise warns where it is missing
JOB_PATIENCE_SECONDS = 0.3  # what is away in a test does not come back
