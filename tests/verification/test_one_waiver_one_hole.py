"""A waiver accepts the one thing that was seen when it was written; the next hole beside it is told all the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import pytest

from deploytools.verification.differences import differences, said_by
from deploytools.verification.findings import Status
from deploytools.verification.policies import Policy
from deploytools.verification.sources.network import BastionGroups, PrefixLists, Rule
from deploytools.verification.sources.rds import SharedSnapshot
from deploytools.verification.sources.secret import ResourcePolicy
from deploytools.verification.sources.stray_values import StrayValues
from deploytools.verification.waivers import WAIVABLE, Waiver, apply_waivers
from tests.verification.world import (
    CATALOGUE,
    FROM_APP,
    GROUPS,
    POWERS,
    QUESTIONS,
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


def powers(*allowed: tuple[str, str]) -> Changes:
    return {"task_role_powers": replace(POWERS, allowed={q: "policy p" if q in allowed else "" for q in QUESTIONS})}


def elsewhere() -> Changes:
    """The role may delete other instances than this one."""
    by = {QUESTIONS[3]: "policy p, statement 0, for other resources"}
    return {"task_role_powers": replace(POWERS, allowed=dict.fromkeys(QUESTIONS, "") | by)}


def policies(*found: Policy) -> Changes:
    return {"task_role": replace(ROLE, policies=found)}


def attached(*names: str) -> Changes:
    return policies(*(Policy(name, (), f"arn:aws:iam::aws:policy/{name}") for name in names))


def stray(*paths: str) -> Changes:
    return {"stray_values": StrayValues("/srv", 9, True, tuple(("password", path, 3) for path in paths))}


def shared(*statements: Mapping[str, object]) -> Changes:
    return {"secret_policy": ResourcePolicy("123456789012", statements)}


def bastion(*found: Rule) -> Changes:
    group = replace(GROUPS["sg-bastion"], rules=found)
    return {"bastion_groups": BastionGroups((group,), PrefixLists({}))}


EVERY_S3 = {**READING, "Action": "s3:*"}
CASES = {
    "network.ingress-only-from-app": [
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
    "network.app-not-open": [
        (
            rules("sg-app", replace(WORLDWIDE, first=8000, last=8000)),
            rules("sg-app", replace(WORLDWIDE, first=8000, last=8000), replace(WORLDWIDE, identifier="sgr-3")),
        )
    ],
    "bastion.ssh-not-open": [(bastion(WORLDWIDE), bastion(WORLDWIDE, replace(WORLDWIDE, identifier="sgr-3")))],
    "iam.least-privilege": [
        (powers(QUESTIONS[0]), powers(*QUESTIONS[:2])),
        (elsewhere(), powers(QUESTIONS[3])),
    ],
    "iam.no-admin-policy": [(attached("PowerUserAccess"), attached("PowerUserAccess", "AdministratorAccess"))],
    "iam.no-wildcards": [
        (policies(Policy("p", (EVERY_S3,))), policies(Policy("p", (EVERY_S3, {**EVERY_S3, "Action": "rds:*"})))),
        (policies(Policy("p", (EVERY_S3,))), policies(Policy("p", ({**EVERY_S3, "Action": "*"},)))),
    ],
    "iam.trust": [
        (
            {"task_role": replace(ROLE, trust=(PARTNER,))},
            {"task_role": replace(ROLE, trust=({**PARTNER, "Condition": {}},))},
        ),
        (
            {"task_role": replace(ROLE, trust=(PARTNER,))},
            {"task_role": replace(ROLE, trust=(PARTNER, {**PARTNER, "Principal": {"AWS": "*"}}))},
        ),
    ],
    "secret.not-in-code": [(stray("a.py"), stray("a.py", "b.py"))],
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
    "ecs.no-literal-secrets": [(container(leaked=LITERAL), container(leaked=LITERAL, credentials=("API_TOKEN",)))],
    "databases.role-harmless": [
        (role(can_create_databases=True), role(can_create_databases=True, is_superuser=True)),
    ],
    "databases.no-test-databases": [
        (
            {"catalogue": replace(CATALOGUE, test_databases=("test_a",))},
            {"catalogue": replace(CATALOGUE, test_databases=("test_a", "test_b"))},
        )
    ],
    "databases.none-forgotten": [
        (
            {"catalogue": replace(CATALOGUE, unnamed=("old",))},
            {"catalogue": replace(CATALOGUE, unnamed=("old", "older"))},
        )
    ],
}


def waivers_for(check: str, changes: Changes) -> list[Waiver]:
    """Whoever accepts all that fails of a check in a world."""
    return [
        Waiver(check, finding.resource, "so be it", "ops", "", TODAY, accept_critical=True)
        for finding in findings(**changes)
        if finding.check == check and finding.status in WAIVABLE
    ]


@pytest.mark.parametrize(("check", "before", "after"), [(check, *case) for check in CASES for case in CASES[check]])
def test_the_next_hole_is_told(check, before, after):
    accepted = waivers_for(check, before)
    assert accepted
    judged = [item for item in apply_waivers(findings(**before), accepted, TODAY) if item.check == check]
    assert {item.status for item in judged} <= {Status.WAIVED, Status.PASS}
    worse = [item for item in apply_waivers(findings(**after), accepted, TODAY) if item.check == check]
    assert [item for item in worse if item.status in WAIVABLE]
    new = differences(said_by(judged), said_by(worse))
    assert [change for change in new if change.before is None and change.after in WAIVABLE]


def test_what_is_accepted_of_a_role_is_shown_and_left_out_with_its_tenant():
    (finding,) = [f for f in findings(**role(name="shop", is_superuser=True)) if f.check == "databases.role-harmless"]
    assert (finding.resource, finding.subject) == ("shop SUPERUSER", "shop")
