"""The texts of a rotation on a narrow terminal."""

from __future__ import annotations

from deploytools.reports.rotation_text import to_offer, to_plan_text


def test_prose_wraps_and_commands_do_not(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert to_offer("shop-prod").splitlines() == [
        "RDS can manage this password and rotate it every 7 days.",
        "Blue/green deployments and new read replicas are then not",
        "possible. If the instance is not in a DB cluster, run:",
        "  aws rds modify-db-instance --db-instance-identifier shop-prod --manage-master-user-password "
        "--apply-immediately",
        "Then remove it from the secret:",
        "  python manage.py sync_secrets --unset master_username --unset master_password",
    ]
    assert to_plan_text(["move AWSCURRENT of prod/shop to the version with login shop_b"]).splitlines() == [
        "  - move AWSCURRENT of prod/shop to the version with login",
        "    shop_b",
    ]
