"""The project's settings with an empty view beside its addresses, to compare requests per second with."""

from hub.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.transfer_urls"
