"""The rows that the code knows by name, so that a tenant is usable right after `migrate`."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import migrations

from StartupWebApp.reference import seed


class Migration(migrations.Migration):
    dependencies = [("user", "0001_initial")]

    operations = [
        seed(
            "user",
            "EmailType",
            "identifier",
            [
                {"identifier": "member", "title": "Member", "description": "Goes to people with an account"},
                {"identifier": "prospect", "title": "Prospect", "description": "Goes to people without an account"},
            ],
        ),
        seed(
            "user",
            "EmailStatus",
            "identifier",
            [
                {"identifier": "draft", "title": "Draft", "description": "Being written"},
                {"identifier": "ready", "title": "Ready", "description": "May be sent"},
                {"identifier": "sent", "title": "Sent", "description": "On its way; changes come too late"},
            ],
        ),
        seed(
            "user",
            "AdType",
            "identifier",
            [
                {"identifier": "search", "title": "Search", "description": "Beside search results"},
                {"identifier": "display", "title": "Display", "description": "A picture on somebody's page"},
                {"identifier": "social", "title": "Social", "description": "In a stream of posts"},
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
