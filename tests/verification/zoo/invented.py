"""Worlds that were invented after the checks were written: faults of other kinds, and good variations of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from deploytools.verification.alarms.facts import Topic
from deploytools.verification.ecs.facts import _host_access
from deploytools.verification.iam.permissions import READ
from deploytools.verification.network.facts import Rule
from deploytools.verification.web.facts import INTERNALS, Response, unhealthy_member, unhealthy_text
from tests.verification.zoo.deployment import statement
from tests.verification.zoo.ecs import defined, variable
from tests.verification.zoo.iam import PLACE, permissions, trusting, written
from tests.verification.zoo.row import FAIL, UNKNOWN, WARN, Row
from tests.verification.zoo.web import headers
from tests.verification.zoo.world import (
    ARN,
    HEADERS,
    NOW,
    ROLE,
    TOPIC,
    TRUST,
    URL,
    Changes,
    alarm,
    container,
    description,
    project,
    role,
    rules,
    service,
    site_response,
    targets,
)

DAY = timedelta(days=1)
ECS_TASKS = {"Service": "ecs-tasks.amazonaws.com"}
PLAINTEXT, HEALTH, PAGE = "ecs.no-plaintext-secrets", "web.health", "web.no-debug-page"


def shown(text: str, **members: str) -> Changes:
    """The front page with a text, or the health endpoint with a JSON response."""
    body = text.encode()
    if members:
        return site_response(health=Response(200, {}, unhealthy=unhealthy_member(body)))
    internals = next((found for phrase, found in INTERNALS.items() if phrase in body), "")
    return site_response(page=Response(200, HEADERS, internals))


def topic(*statements: dict[str, Any]) -> Changes:
    """The alarms' topic with an access policy."""
    return {"alarm_topics": (Topic(TOPIC, confirmed=("email ops@shop.net",), policy=statements),)}


def publishing(**members: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "SNS:Publish", "Resource": TOPIC, **members}


DEFAULT_POLICY = publishing(Condition={"StringEquals": {"AWS:SourceOwner": "123456789012"}})

CREDENTIALS = (
    (variable("DB_URI", "postgresql://app@db.abc/shop?password=hunter2secret"), "web DB_URI"),
    (variable("SENTRY_AUTH", "Basic YWxpY2U6aHVudGVyMg=="), "web SENTRY_AUTH"),
    (variable("NOTIFY", "https://hooks.slack.com/services/T00000000/B00000000/abcdefgh1234"), "web NOTIFY"),
    (
        defined(healthCheck={"command": ["CMD-SHELL", "curl -H 'Authorization: Bearer abcdef123456' localhost"]}),
        "health",
    ),
    (variable("REPORTING", "host=db.abc user=report password=Oct2024! dbname=shop"), "web REPORTING"),
    (variable("CONFIG", '{"db": {"user": "app", "password": "hunter2"}}'), "web CONFIG"),
    (variable("CONFIG", "user: app\npassword: hunter2\n"), "web CONFIG"),
    (defined(dockerLabels={"basicauth.users": "admin:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/"}), "basicauth.users"),
    (variable("STORAGE", "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=bXlrZXk=;"), "web STORAGE"),
    (defined(healthCheck={"command": ["CMD-SHELL", "curl -fsu monitor:Winter2025 localhost"]}), "web healthCheck curl"),
    (defined(healthCheck={"command": ["CMD", "redis-cli", "-a", "hunter2", "ping"]}), "web healthCheck redis-cli"),
    (defined(command=["sh", "-c", "mysqladmin -h db -phunter2 ping"]), "web command mysqladmin"),
    (
        defined(
            logConfiguration={"logDriver": "splunk", "options": {"splunk-token": "8f2b6c1e-1b1a-4d8e-9b6c-0d5a7e0f"}}
        ),
        "web log option splunk-token",
    ),
)
HARMLESS = (
    variable("AUTH_SCHEME", "Bearer"),
    variable("SEARCH", "https://shop.net/?q=password"),
    variable("DESCRIPTION", "Basic authentication of the proxy"),
    defined(healthCheck={"command": ["CMD-SHELL", "curl -H 'Authorization: Bearer x' localhost/?token=${TOKEN}"]}),
    defined(command=["sh", "-c", "exec app --db-password=$DB_PASSWORD"]),
    defined(command=["sh", "-c", 'psql "host=db password=$DB_PASSWORD dbname=shop"']),
    defined(healthCheck={"command": ["CMD-SHELL", 'redis-cli -a "$PW" ping && curl -fu monitor:$PW localhost:8000']}),
    variable("RECAPTCHA_SITE_KEY", "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"),
    variable(
        "VAPID_PUBLIC_KEY", "BEl62iUYgUivxIkv69yViEuiBIa-Ib9-SkvMeAtA3LFgDzkrxZJjSgSnfckjBJuBkr3qBUYIHBQFLXYp5Nksh8U"
    ),
    variable("CONFIG", '{"password": "", "api_key": "${API_KEY}", "password_validators": "shop.Long"}'),
    variable("HELP", "Enter your password: it has 12 characters"),
    variable("KMS_KEY_ID", "1234abcd-12ab-34cd-56ef-1234567890ab"),
    defined(healthCheck={"command": ["CMD-SHELL", "curl -f http://localhost:8000/healthz || exit 1"]}),
    defined(logConfiguration={"logDriver": "fluentd", "options": {"tag": "/ecs/web"}}),
)
#: Members of a container and of its task definition that give access to the host, and what is reported.
HOST: tuple[tuple[dict[str, Any], dict[str, Any], str], ...] = (
    ({"linuxParameters": {"capabilities": {"add": ["SYS_ADMIN", "SYS_PTRACE"]}}}, {}, "the capability SYS_ADMIN"),
    ({"linuxParameters": {"devices": [{"hostPath": "/dev/kvm"}]}}, {}, "the device /dev/kvm"),
    ({}, {"pidMode": "host"}, "the pidMode of the host"),
    ({}, {"networkMode": "host"}, "the networkMode of the host"),
    (
        {"mountPoints": [{"sourceVolume": "docker", "containerPath": "/run/docker.sock"}]},
        {"volumes": [{"name": "docker", "host": {"sourcePath": "/run/docker.sock"}}, {"name": "data"}]},
        "the directory /run/docker.sock of the host",
    ),
)
INVENTED = [
    # Credentials and access to the host in a task definition.
    *(Row(changes, {PLAINTEXT: FAIL}, seen) for changes, seen in CREDENTIALS),
    *(Row(changes, good=(PLAINTEXT,)) for changes in HARMLESS),
    *(
        Row(container(host_access=_host_access(*members)), {"ecs.unprivileged": FAIL}, f"web: it has {seen}")
        for *members, seen in HOST
    ),
    Row(
        container(host_access=_host_access({"mountPoints": [{"sourceVolume": "efs"}]}, {})), good=("ecs.unprivileged",)
    ),
    Row(
        variable("DJANGO_SETTINGS_MODULE", "shop.settings"),
        {"ecs.expected-secret": FAIL},
        "web: DJANGO_SETTINGS_MODULE is shop.settings, expected prod.settings",
    ),
    Row(variable("DJANGO_SETTINGS_MODULE", "prod.settings"), good=("ecs.expected-secret",)),
    *(
        Row(
            variable("DJANGO_SETTINGS_MODULE", "old.settings") | {"newest_settings_modules": {name: module}},
            {"ecs.expected-secret": status},
            f"web: DJANGO_SETTINGS_MODULE is old.settings, expected prod.settings{end}",
        )
        for name, module, status, end in (
            ("web", "prod.settings", WARN, ", as in the newest revision"),
            ("web", "old.settings", FAIL, ""),
            ("web", "", FAIL, ""),
            ("job", "prod.settings", FAIL, ""),
        )
    ),
    *(
        Row(service(**changes), {"ecs.redundant": WARN}, seen)
        for changes, seen in (
            ({"desired": 1, "running": 1}, "1 task in 2 Availability Zones"),
            ({"min_healthy": 0}, "minimumHealthyPercent is 0"),
            ({"is_spot": True}, "all tasks run on Fargate Spot"),
        )
    ),
    Row(service(desired=3, running=3) | targets(*["healthy"] * 3), good=("ecs.redundant", "ecs.targets-healthy")),
    # IAM.
    Row(
        trusting(ECS_TASKS, Condition={"StringLike": {"aws:SourceAccount": "1*"}}),
        {"iam.confused-deputy": WARN},
        "no condition on aws:SourceAccount",
    ),
    Row(permissions(unsure=((READ, ARN),)), {"iam.secret-access": UNKNOWN}, "depends on a condition"),
    *(
        Row(written(**members), {"iam.least-privilege": FAIL}, seen)
        for members, seen in (
            ({"Action": "secretsmanager:*", "Resource": ARN}, "changes secrets"),
            ({"Action": "iam:Pass*"}, "runs code with another role"),
            ({"Action": "S3:GETOBJECT"}, "reads every bucket"),
            ({"Action": "s3:*", "Resource": "arn:aws:s3:::${aws:PrincipalTag/team}/*"}, "changes or deletes buckets"),
        )
    ),
    *(
        Row(
            written(Action="kms:Decrypt", Resource=f"arn:aws:kms:{PLACE}:key/*", Condition=condition),
            {"iam.least-privilege": UNKNOWN},
            "decrypts with every key",
        )
        for condition in (
            {"StringLike": {"kms:ViaService": "*"}},
            {"ForAllValues:StringEquals": {"kms:ViaService": f"secretsmanager.{PLACE[:9]}.amazonaws.com"}},
        )
    ),
    Row(
        {"task_role": replace(ROLE, trust=(*TRUST, {key: TRUST[0][key] for key in TRUST[0] if key != "Condition"}))},
        {"iam.confused-deputy": WARN},
        "no condition on aws:SourceAccount",
    ),
    Row(
        statement(Principal="*", Condition={"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/deploy"}}),
        {"secret.not-shared": FAIL},
        "(aws:PrincipalArn) does not restrict that",
    ),
    # Django.
    *(
        Row(project(allowed_hosts=(host, ".shop.net")), {"django.allowed-hosts": FAIL}, f"contains {host}")
        for host in (".co.uk", ".amazonaws.com", ".eu-west-1.elb.amazonaws.com", ".herokuapp.com")
    ),
    *(
        Row(project(allowed_hosts=(host, ".shop.net")), good=("django.allowed-hosts",))
        for host in (".shop.co.uk", "web-1.eu-west-1.elb.amazonaws.com", ".shop.herokuapp.com")
    ),
    Row(
        project(trusted_origins=("https://*.github.io", URL)),
        {"django.trusted-origins": FAIL},
        "https://*.github.io matches hosts of others",
    ),
    *(
        Row(
            project(proxy_ssl_header=("HTTP_X_FORWARDED_PROTO", value)),
            {"django.proxy-ssl-header": FAIL},
            f"takes HTTP_X_FORWARDED_PROTO = {value} for HTTPS",
        )
        for value in ("http", "HTTPS")
    ),
    *(
        Row(project(proxy_ssl_header=(name, "https")), {"django.proxy-ssl-header": FAIL}, f"never has {name}")
        for name in ("X-Forwarded-Proto", "X_FORWARDED_PROTO", "HTTP_X-Forwarded-Proto")
    ),
    *(
        Row(project(proxy_ssl_header=header), {"django.proxy-ssl-header": UNKNOWN}, "is set by the WSGI server")
        for header in (("HTTPS", "on"), ("wsgi.url_scheme", "https"))
    ),
    Row(
        project(trusted_origins=(f"{URL}/",)), {"django.trusted-origins": FAIL}, "does not contain https://www.shop.net"
    ),
    # The site.
    Row(
        headers(content_security_policy="default-src 'none'; frame-ancestors https:"),
        {"web.security-headers": WARN},
        "do not limit framing",
    ),
    *(
        Row(shown(text, kind="json"), {HEALTH: FAIL}, "reports that")
        for text in (
            '{"status": "degraded"}',
            '{"checks": {"database": "disconnected"}}',
            '{"status": "UP", "components": {"db": {"status": "OUT_OF_SERVICE"}}}',
            '{"Cache backend: default": "working", "Database": "unavailable: could not connect"}',
        )
    ),
    Row(shown('{"status": "ok", "mode": "online"}', kind="json"), good=(HEALTH,)),
    *(
        Row(site_response(health=Response(200, {}, unhealthy=unhealthy_text(text))), flips, seen)
        for text, flips, seen in (
            (b"unhealthy\n", {HEALTH: FAIL}, "reports that the application does not work"),
            (b"status: down", {HEALTH: FAIL}, "reports that the application does not work"),
            (b"OK: no error", {}, ""),
        )
    ),
    *(
        Row(shown(text), {PAGE: FAIL}, "the front page shows")
        for text in (
            "<h1>The install worked successfully! Congratulations!</h1>",
            "<title>Welcome to nginx!</title>",
            "<title>Index of /</title>",
            "<title>Apache2 Debian Default Page: It works</title>",
        )
    ),
    *(
        Row(headers(content_security_policy=f"script-src {source}"), {"web.security-headers": WARN}, seen)
        for source, seen in (
            ("'self' https://*.com", "allows scripts from https://*.com"),
            ("'self' blob:", "allows scripts from blob:"),
            ("'self' *.net", "allows scripts from *.net"),
        )
    ),
    Row(headers(content_security_policy="script-src 'self' https://*.shop.net"), good=("web.security-headers",)),
    Row(
        site_response(plain=Response(302, {"location": "https://www.shop.net:8443/"})),
        {"web.https-redirect": FAIL},
        "http:// returns 302 to https://www.shop.net:8443/",
    ),
    # Databases, the secret, the network and the alarms.
    Row(
        role(memberships=frozenset({"postgres"}), admin_memberships=frozenset({"postgres"})),
        {"databases.role-privileges": FAIL},
        "django_app postgres: has postgres",
    ),
    Row(
        description(rotated_at=NOW - 400 * DAY, rotation_days=30),
        {"secret.rotation-on-schedule": FAIL},
        "it was last rotated on 2025-01-25, although it is due every 30 days",
    ),
    Row(description(rotated_at=NOW - 30 * DAY, rotation_days=30), good=("secret.rotation-on-schedule",)),
    *(
        Row(
            description(
                rotated_at=NOW - 40 * DAY, rotation_days=7, changed_at=NOW - ago * DAY, next_rotation=NOW + due * DAY
            ),
            {"secret.rotation-on-schedule": status},
            "it was last rotated on 2026-01-20, although it is due every 7 days",
        )
        for ago, due, status in ((2, 5, WARN), (8, 0.5, WARN), (9, 5, FAIL), (2, 7, FAIL), (41, 5, FAIL))
    ),
    *(
        Row(
            rules("sg-app", *(Rule(f"sgr-{n}", "tcp", 8000, 8000, cidr=f"52.{n}.1.0/24") for n in range(number))),
            flips,
            seen,
        )
        for number, flips, seen in (
            (8, {}, ""),
            (9, {"network.no-public-ingress": FAIL}, "backend is open to 2,304 public addresses in 9 ranges"),
        )
    ),
    Row(
        rules("sg-app", *(Rule(f"sgr-{n}", "tcp", 80, 443, cidr=f"52.{n}.1.0/24") for n in range(9))),
        {"network.no-public-ingress": FAIL},
        "backend is open to 2,304 public addresses in 9 ranges",
    ),
    Row(
        rules("sg-app", Rule("sgr-x", "tcp", 8000, 8000, prefix_list="pl-1"))
        | {"prefix_lists": {"pl-1": ("0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2")}},
        {"network.no-public-ingress": FAIL},
        "opens port 8000 to pl-1",
    ),
    Row(alarm(state="ALARM", state_since=NOW - 30 * DAY), {"alarms.have-data": WARN}, "for more than a day; since"),
    Row(alarm(state="ALARM", state_since=NOW - DAY / 2), good=("alarms.have-data",)),
    *(
        Row(topic(*statements), {"alarms.topic-key": FAIL}, "does not allow CloudWatch sns:Publish")
        for statements in (
            (),
            (publishing(Principal={"Service": "s3.amazonaws.com"}),),
            (publishing(Action="sns:Subscribe"),),
            (DEFAULT_POLICY, publishing(Effect="Deny")),
            *(
                (publishing(Principal={"Service": "cloudwatch.amazonaws.com"}, Condition=condition),)
                for condition in (
                    {"StringEquals": {"aws:SourceAccount": "999999999999"}},
                    {"ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:us-east-1:999999999999:alarm:*"}},
                    {"ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:us-east-1:*:alarm:good-CPUUtilization"}},
                )
            ),
        )
    ),
    *(
        Row(topic(*statements), good=("alarms.topic-key",))
        for statements in (
            (DEFAULT_POLICY,),
            (publishing(Principal={"Service": "cloudwatch.amazonaws.com"}),),
            (
                publishing(
                    Principal={"Service": "cloudwatch.amazonaws.com"},
                    Condition={
                        "StringEquals": {"aws:SourceAccount": "123456789012"},
                        "ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:*"},
                    },
                ),
            ),
            (DEFAULT_POLICY, publishing(Effect="Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})),
        )
    ),
]
