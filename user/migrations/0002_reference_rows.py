"""Reference rows that the code depends on."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import migrations

from user.reference_rows import seed


class Migration(migrations.Migration):
    dependencies = [("user", "0001_initial")]

    operations = [
        seed(
            "user",
            "EmailType",
            "identifier",
            [
                {"identifier": "member", "title": "Member", "description": "Sent to people with an account"},
                {"identifier": "prospect", "title": "Prospect", "description": "Sent to people without an account"},
            ],
        ),
        seed(
            "user",
            "EmailStatus",
            "identifier",
            [
                {"identifier": "draft", "title": "Draft", "description": "Not finished"},
                {"identifier": "ready", "title": "Ready", "description": "Ready to be sent"},
                {"identifier": "sent", "title": "Sent", "description": "Cannot be changed"},
            ],
        ),
        seed(
            "user",
            "AdType",
            "identifier",
            [
                {"identifier": "search", "title": "Search", "description": "Next to search results"},
                {"identifier": "display", "title": "Display", "description": "An image on another website"},
                {"identifier": "social", "title": "Social", "description": "In a social network"},
            ],
        ),
        seed(
            "user",
            "AdStatus",
            "identifier",
            [
                {"identifier": "planned", "title": "Planned"},
                {"identifier": "running", "title": "Running"},
                {"identifier": "finished", "title": "Finished"},
            ],
        ),
        seed(
            "user",
            "TermsOfUseVersion",
            "version",
            [{"version": "1", "note": "The first terms of use", "published_at": datetime(2025, 11, 1, tzinfo=UTC)}],
        ),
    ]
