"""Static files under names that change with their content, compressed once."""

from typing import Any

from whitenoise.compress import Compressor
from whitenoise.storage import CompressedManifestStaticFilesStorage


class Storage(CompressedManifestStaticFilesStorage):
    """Compresses with gzip alone: brotli, which is used wherever some package has brought it, takes a minute at every start."""

    def create_compressor(self, **options: Any) -> Compressor:
        """Return what compresses one file."""
        return Compressor(**{**options, "use_brotli": False})
