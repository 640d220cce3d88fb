"""Static files: plain names while developing and testing, hashed names in production.

One storage for both, so that `collectstatic`, which runs where there is no secret, writes what production serves.
"""

from __future__ import annotations

from django.conf import settings
from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # WhiteNoise has no types
    """`collectstatic` writes hashed names and their manifest; with ``PRODUCTION = True`` the pages use them."""

    def stored_name(self, name: str) -> str:
        """The name that a page links to.

        Raises:
            ValueError: in production, where `collectstatic` has not run or did not find the file.
        """
        if not settings.PRODUCTION:
            return name
        hashed: str = super().stored_name(name)
        return hashed
