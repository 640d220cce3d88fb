"""Worlds of a third pair of eyes: each fault passed all checks when it was invented; with good variations of it."""

from __future__ import annotations

from dataclasses import replace

from deploytools.verification.network.facts import HostGroups, Rule, SecurityGroup
from deploytools.verification.web.facts import Response
from tests.verification.zoo.alarms import BY_CLOUDWATCH, encrypted
from tests.verification.zoo.ecs import defined, variable
from tests.verification.zoo.iam import ECS_TASKS, trusting
from tests.verification.zoo.row import FAIL, UNKNOWN, WARN, Row
from tests.verification.zoo.web import headers
from tests.verification.zoo.world import (
    ARN,
    FROM_BALANCER,
    GROUPS,
    WEB,
    Changes,
    alarm,
    project,
    rotated,
    service,
    site_response,
    spf,
    targets,
)

OWN, VENDOR = "123456789012", "999999999999"


def injected(ending: str, of: str = ARN) -> Changes:
    """The container's secret with another key, label and ID of the version."""
    return defined(secrets=[{"name": "DJANGO_SECRET_KEY", "valueFrom": f"{of}{ending}"}])


def key_state(state: str) -> Changes:
    """The topic's key in a state."""
    found = encrypted(BY_CLOUDWATCH)
    return found | {"topic_keys": (replace(found["topic_keys"][0], state=state),)}


FROM_JUMP = Rule("sgr-j", "tcp", 8000, 8000, group="sg-jump")
JUMP = SecurityGroup("sg-jump", "jump", (Rule("sgr-k", "tcp", 22, 22, cidr="0.0.0.0/0"),))
PUBLIC = {"network.no-public-ingress": FAIL}


def task_groups(*rules: Rule, has_access: bool = True) -> Changes:
    """The tasks have a further security group with these rules."""
    debug = SecurityGroup("sg-debug", "debug", rules)
    groups = (GROUPS["sg-app"], debug) if has_access else (debug,)
    return {"task_groups": HostGroups(groups, {"pl-9": ("0.0.0.0/0",)}, (JUMP,))}


HTML, JSON = Response(200, {"content-type": "text/html; charset=utf-8"}), {"content-type": "application/json"}


LATER = [
    # The network.
    *(
        Row(task_groups(*changes), flips, seen)
        for changes, flips, seen in (
            ((Rule("sgr-d", "tcp", 8000, 8000, cidr="0.0.0.0/0"),), PUBLIC, "debug opens port 8000 to 0.0.0.0/0"),
            ((FROM_JUMP,), PUBLIC, "jump opens port 22 to 0.0.0.0/0"),
            ((WEB,), PUBLIC, "debug opens port 443 to 0.0.0.0/0"),
            ((Rule("sgr-d", "tcp", 22, 22, prefix_list="pl-9"),), PUBLIC, "debug opens port 22 to pl-9"),
        )
    ),
    Row(task_groups(FROM_BALANCER), good=("network.no-public-ingress",)),
    Row(task_groups(WEB, has_access=False), good=("network.no-public-ingress",)),
    # IAM.
    *(
        Row(trusting(ECS_TASKS, Condition=condition), {"iam.confused-deputy": WARN}, "has only this account")
        for condition in (
            {"StringEquals": {"aws:SourceAccount": [OWN, VENDOR]}},
            {"StringEquals": {"aws:SourceAccount": VENDOR}},
            {"ArnLike": {"aws:SourceArn": f"arn:aws:ecs:us-east-1:{VENDOR}:*"}},
        )
    ),
    *(
        Row(trusting(ECS_TASKS, Condition=condition), good=("iam.confused-deputy",))
        for condition in (
            {
                "StringEquals": {"aws:SourceAccount": [OWN, VENDOR]},
                "ArnLike": {"aws:SourceArn": f"arn:aws:ecs:us-east-1:{OWN}:*"},
            },
            {"StringEquals": {"aws:SourceOrgID": "o-a1b2c3d4e5"}},
        )
    ),
    # Mail.
    *(
        Row(spf(wide=(term,)), {"mail.spf": FAIL}, f"a large part of the internet to send: {term}")
        for term in ("ip4:0.0.0.0/0", "a:/0")
    ),
    # Rotation.
    Row(
        rotated(password=-330, django_secret_key=20),
        {"secret.credential-age": WARN, "ecs.deployed-since-rotation": WARN},
        "password: the date of its rotation is in the future",
    ),
    # ECS.
    *(
        Row(injected(ending), {"ecs.expected-secret": FAIL}, "names a version of the secret other than AWSCURRENT")
        for ending in (":django_secret_key:AWSPREVIOUS:", ":::0f1e2d3c-0000-4000-8000-000000000000")
    ),
    *(
        Row(injected(ending), good=("ecs.expected-secret",))
        for ending in ("", ":django_secret_key::", ":django_secret_key:AWSCURRENT:", ":django_secret_key:AWSCURRENT")
    ),
    Row(
        variable("AWS_REGION", "eu-west-1"),
        {"ecs.expected-secret": FAIL},
        "web: AWS_REGION is eu-west-1, expected us-east-1",
    ),
    Row(variable("AWS_REGION", "us-east-1"), good=("ecs.expected-secret",)),
    Row(targets("healthy"), {"ecs.targets-healthy": WARN}, "1 healthy, but 2 tasks run"),
    Row(targets("healthy") | service(desired=2, running=3), {"ecs.targets-healthy": WARN}, "but 3 tasks run"),
    # Alarms.
    *(
        Row(key_state(state), {"alarms.topic-key": FAIL}, f"the state of its key alias/ops is {state}")
        for state in ("PendingDeletion", "Disabled")
    ),
    Row(
        {"rds_parameters": {"rds.force_ssl": "1", "max_connections": "100"}},
        {"alarms.metrics": FAIL},
        "its threshold is 150, expected 5 to 95",
    ),
    Row(
        {"rds_parameters": {"rds.force_ssl": "1", "max_connections": "100"}}
        | alarm("DatabaseConnections", threshold=80),
        good=("alarms.metrics",),
    ),
    Row(
        {"rds_parameters": {"rds.force_ssl": "1", "max_connections": "LEAST({DBInstanceClassMemory/9531392},5000)"}},
        good=("alarms.metrics",),
    ),
    # Django.
    Row(
        project(proxy_ssl_header=("HTTP_X_FORWARDED_SSL", "on")),
        {"django.proxy-ssl-header": WARN},
        "AWS's load balancers do not set HTTP_X_FORWARDED_SSL: any client can",
    ),
    # The site.
    Row(
        site_response(health=HTML, missing=HTML),
        {"web.health": WARN, "web.no-debug-page": UNKNOWN},
        "the health endpoint responds as a missing page does",
    ),
    Row(site_response(health=Response(200, JSON), missing=Response(404, HTML.headers)), good=("web.health",)),
    Row(site_response(health=HTML, missing=Response(404, HTML.headers)), good=("web.health",)),
    *(
        Row(
            headers(content_security_policy=f"script-src 'self' {source}"),
            {"web.security-headers": WARN},
            f"allows scripts from {source}",
        )
        for source in ("https://cdn.jsdelivr.net", "unpkg.com", "https://*.amazonaws.com", "*.cloudfront.net")
    ),
    *(
        Row(headers(content_security_policy=f"script-src 'self' {sources}"), good=("web.security-headers",))
        for sources in ("https://cdn.jsdelivr.net/npm/htmx.org@2.0.4/", "'nonce-a1' 'strict-dynamic' https://unpkg.com")
    ),
]
