"""A waiver accepts one failure; a similar failure that appears later is still reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import pytest

from deploytools.verification.findings import Status
from deploytools.verification.iam.policies import Policy
from deploytools.verification.network.facts import HostGroups, Rule
from deploytools.verification.rds.facts import SharedSnapshot
from deploytools.verification.report_diff import compare, index_findings
from deploytools.verification.secret.facts import ResourcePolicy
from deploytools.verification.secret.secret_scan import LeakedSecrets
from deploytools.verification.waivers import WAIVABLE, Waiver, apply_waivers
from tests.verification.zoo.world import (
    CATALOGUE,
    FROM_APP,
    GROUPS,
    READING,
    ROLE,
    TRUST,
    Changes,
    container,
    findings,
    role,
    rules,
    secret,
)

TODAY = date(2026, 3, 1)
OFFICE = Rule("sgr-1", "tcp", 5432, 5432, cidr="203.0.113.0/24", description="tmp")
WORLDWIDE = Rule("sgr-2", "tcp", 5432, 5432, cidr="0.0.0.0/0", description="tmp")
OPEN = {"Sid": "Open", "Effect": "Allow", "Principal": "*", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
PARTNER = {**TRUST[0], "Principal": {"AWS": "arn:aws:iam::999999999999:root"}, "Condition": {"Bool": {"a": "b"}}}
LITERAL = ("DB_PASSWORD",)
BY_HAND = SharedSnapshot("by-hand", ("999999999999",))
KEY = "kJ8dP2sL0qWzX5vB7nM1aQ9eR3tY6uI4oPhG8fDxCsVbNm2WqE"


def policies(*found: Policy) -> Changes:
    return {"task_role": replace(ROLE, policies=found)}


def leaked(*paths: str) -> Changes:
    return {"leaked_secrets": LeakedSecrets("/srv", 9, True, tuple(("password", path, 3) for path in paths))}


def shared(*statements: Mapping[str, object]) -> Changes:
    return {"secret_policy": ResourcePolicy("123456789012", statements)}


def bastion(*found: Rule) -> Changes:
    group = replace(GROUPS["sg-bastion"], rules=found)
    return {"bastion_groups": HostGroups((group,), {})}


EVERY_S3 = {**READING, "Action": "s3:*"}
CASES = {
    "network.database-ingress": [
        (rules("sg-db", OFFICE), rules("sg-db", OFFICE, WORLDWIDE)),
        (rules("sg-db", OFFICE), rules("sg-db", replace(OFFICE, cidr="0.0.0.0/0"))),
        (rules("sg-db", OFFICE), rules("sg-db", replace(OFFICE, first=0, last=65535))),
        (rules("sg-db", OFFICE), rules("sg-db", replace(OFFICE, protocol="-1", first=-1, last=-1))),
        (
            rules("sg-db", replace(FROM_APP, identifier="sgr-1", account="999")),
            rules("sg-db", replace(FROM_APP, identifier="sgr-1", account="888")),
        ),
    ],
    "network.no-temporary-rules": [(rules("sg-db", OFFICE), rules("sg-db", OFFICE, WORLDWIDE))],
    "network.no-public-ingress": [
        (
            rules("sg-app", replace(WORLDWIDE, first=8000, last=8000)),
            rules("sg-app", replace(WORLDWIDE, first=8000, last=8000), replace(WORLDWIDE, identifier="sgr-3")),
        )
    ],
    "bastion.no-public-ingress": [(bastion(WORLDWIDE), bastion(WORLDWIDE, replace(WORLDWIDE, identifier="sgr-3")))],
    "iam.least-privilege": [
        (policies(Policy("p", (EVERY_S3,))), policies(Policy("p", (EVERY_S3, {**EVERY_S3, "Action": "rds:*"})))),
        (policies(Policy("p", (EVERY_S3,))), policies(Policy("p", ({**EVERY_S3, "Action": "*"},)))),
    ],
    "iam.trust-policy": [
        (
            {"task_role": replace(ROLE, trust=(PARTNER,))},
            {"task_role": replace(ROLE, trust=({**PARTNER, "Condition": {}},))},
        ),
        (
            {"task_role": replace(ROLE, trust=(PARTNER,))},
            {"task_role": replace(ROLE, trust=(PARTNER, {**PARTNER, "Principal": {"AWS": "*"}}))},
        ),
    ],
    "secret.not-in-code": [(leaked("a.py"), leaked("a.py", "b.py"))],
    "secret.not-shared": [
        (shared(OPEN), shared(OPEN, {**OPEN, "Sid": "More"})),
        (shared(OPEN), shared({**OPEN, "Action": "secretsmanager:*"})),
    ],
    "secret.distinct": [
        (
            secret(master_password=KEY, django_secret_key=KEY),
            secret(master_password=KEY, django_secret_key=KEY, password=KEY),
        )
    ],
    "rds.snapshots-private": [
        ({"rds_shares": (BY_HAND,)}, {"rds_shares": (replace(BY_HAND, accounts=("888888888888", *BY_HAND.accounts)),)}),
        ({"rds_shares": (BY_HAND,)}, {"rds_shares": (replace(BY_HAND, accounts=("999999999999", "all")),)}),
    ],
    "ecs.no-plaintext-secrets": [(container(leaked=LITERAL), container(leaked=LITERAL, credentials=("API_TOKEN",)))],
    "databases.role-privileges": [
        (role(can_create_databases=True), role(can_create_databases=True, is_superuser=True)),
    ],
    "databases.no-test-databases": [
        (
            {"server_catalog": replace(CATALOGUE, test_databases=("test_a",))},
            {"server_catalog": replace(CATALOGUE, test_databases=("test_a", "test_b"))},
        )
    ],
    "databases.all-listed": [
        (
            {"server_catalog": replace(CATALOGUE, unlisted=("old",))},
            {"server_catalog": replace(CATALOGUE, unlisted=("old", "older"))},
        )
    ],
}


def waivers_for(check: str, changes: Changes) -> list[Waiver]:
    """Waivers for all failures of a check."""
    return [
        Waiver(check, finding.resource, "so be it", "ops", "", TODAY, accept_critical=True)
        for finding in findings(**changes)
        if finding.check.id == check and finding.status in WAIVABLE
    ]


@pytest.mark.parametrize(("check", "before", "after"), [(check, *case) for check in CASES for case in CASES[check]])
def test_a_new_failure_is_reported(check, before, after):
    accepted = waivers_for(check, before)
    assert accepted
    waived = [item for item in apply_waivers(findings(**before), accepted, TODAY) if item.check.id == check]
    assert {item.status for item in waived} <= {Status.WAIVED, Status.PASS}
    worse = [item for item in apply_waivers(findings(**after), accepted, TODAY) if item.check.id == check]
    assert [item for item in worse if item.status in WAIVABLE]
    new = compare(index_findings(waived), index_findings(worse))
    assert [change for change in new if change.before is None and change.after in WAIVABLE]


def test_the_tenant_of_a_finding_about_a_role():
    (finding,) = [
        f for f in findings(**role(name="shop", is_superuser=True)) if f.check.id == "databases.role-privileges"
    ]
    assert (finding.resource, finding.tenant) == ("shop SUPERUSER", "shop")
