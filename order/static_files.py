"""Storage of static files: plain names in development and tests, hashed names in production.

One class for both, because `collectstatic` runs with the base settings, which need no secret, and must write what the
production settings serve.
"""

from __future__ import annotations

from django.conf import settings
from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # WhiteNoise has no types
    """WhiteNoise's storage. Pages use the hashed names if ``PRODUCTION`` is true."""

    def stored_name(self, name: str) -> str:
        """Return the name that pages link to.

        Raises:
            ValueError: in production, if `collectstatic` has not run or did not find the file.
        """
        if not settings.PRODUCTION:
            return name
        hashed: str = super().stored_name(name)
        return hashed
