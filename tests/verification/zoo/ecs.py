"""Worlds of the area ecs: faults with the statuses that they change, and good variations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from deploytools.verification.ecs.facts import Cluster, Deployment, _container
from deploytools.verification.network.facts import (
    Network,
)
from tests.verification.zoo.row import FAIL, NA, UNKNOWN, WARN, Row
from tests.verification.zoo.world import (
    ARN,
    CONTAINER,
    DOCUMENT,
    GROUPS,
    NOW,
    WORLD,
    Changes,
    container,
    description,
    expect,
    rotated,
    service,
    targets,
)

DAY = timedelta(days=1)


def by_code_deploy(**changes: Any) -> Changes:
    """An ECS service that CodeDeploy deploys with task sets."""
    return service(controller="CODE_DEPLOY", **changes)


NOT_OURS = {"ecs.circuit-breaker": NA, "ecs.not-rolled-back": NA}
ECS = [
    Row(
        {"ecs_service": None, "ecs_targets": None},
        {
            "ecs.deployment-complete": NA,
            "ecs.deployed-since-rotation": NA,
            "ecs.circuit-breaker": NA,
            "ecs.redundant": NA,
            "ecs.no-public-address": NA,
            "ecs.not-rolled-back": NA,
            "ecs.targets-healthy": NA,
            "ecs.reaches-database": NA,
        },
        'DEPLOYTOOLS["ECS_SERVICE"] is not set',
    ),
    Row({"ecs_cluster": None}, {"ecs.container-insights": NA}, 'DEPLOYTOOLS["ECS_SERVICE"] is not set'),
    Row({"ecs_targets": None}, {"ecs.targets-healthy": NA}, 'DEPLOYTOOLS["ECS_SERVICE"] is not set'),
    Row(
        {"task_definition": None},
        {
            "iam.execution-role": NA,
            "ecs.no-plaintext-secrets": NA,
            "ecs.expected-secret": NA,
            "ecs.image-pinned": NA,
            "ecs.logs": NA,
            "ecs.unprivileged": NA,
        },
        'DEPLOYTOOLS["ECS_SERVICE"] is not set',
    ),
    Row(
        service(deployed_at=NOW - 21 * DAY),
        {"ecs.deployed-since-rotation": WARN},
        "deployed 2026-02-08 12:00+0000, password rotated 2026-02-09",
    ),
    *(
        Row(
            rotated(**{"password": 1, "django_secret_key": 20, **days}) | {"database_settings": recovering},
            {"ecs.deployed-since-rotation": WARN} if days else {},
            f"{next(iter(days), '')} rotated 2026-02-28",
            good=() if days else ("ecs.deployed-since-rotation",),
        )
        for days in ({}, {"django_secret_key": 1})
        for recovering in (replace(WORLD["database_settings"], recovers=True),)
    ),
    Row(
        rotated(password=1, django_secret_key=20) | {"database_settings": None},
        {"connection.django": NA, "ecs.deployed-since-rotation": WARN},
    ),
    Row(service(deployed_at=None), {"ecs.deployed-since-rotation": UNKNOWN}, "no createdAt"),
    Row(
        description(rotated_at=None) | rotated(),
        {"secret.credential-age": WARN, "ecs.deployed-since-rotation": NA},
        "password: rotated_at in the secret has no date",
    ),
    Row(
        description(rotated_at=NOW - DAY),
        {"ecs.deployed-since-rotation": WARN},
        "the secret rotated 2026-02-28",
    ),
    Row(service(rollout="FAILED"), {"ecs.deployment-complete": FAIL}, "2 of 2 tasks running, rollout FAILED"),
    Row(service(running=1), {"ecs.deployment-complete": FAIL}, "1 of 2 tasks running"),
    Row(
        service(desired=0, running=0), {"ecs.deployment-complete": FAIL, "ecs.redundant": WARN}, "0 of 0 tasks running"
    ),
    Row(service(status="DRAINING"), {"ecs.deployment-complete": FAIL}, "its status is DRAINING"),
    Row(service(desired=None), dict.fromkeys(("ecs.deployment-complete", "ecs.redundant"), UNKNOWN), "desiredCount"),
    Row(service(status=None), {"ecs.deployment-complete": UNKNOWN}, "no status, desiredCount"),
    Row(service(rollout=None), {}),
    Row(service(rollout=None, deployments=2), {"ecs.deployment-complete": FAIL}, "running, deployments: 2"),
    Row(
        service(rollout=None, deployments=None),
        {"ecs.deployment-complete": UNKNOWN},
        "2 of 2 tasks running, deployments: none",
    ),
    Row(by_code_deploy(rollout="STEADY_STATE"), dict(NOT_OURS), "its deployment controller is CODE_DEPLOY"),
    Row(
        by_code_deploy(rollout="STABILIZING"),
        {"ecs.deployment-complete": FAIL, **NOT_OURS},
        "rollout STABILIZING",
    ),
    Row(by_code_deploy(rollout=None), {"ecs.deployment-complete": UNKNOWN, **NOT_OURS}, "deployments: 1"),
    Row(service(has_circuit_breaker=None), {"ecs.circuit-breaker": WARN}, "deploymentCircuitBreaker is disabled"),
    Row(service(rolls_back=False), {"ecs.circuit-breaker": WARN}, "is enabled without rollback"),
    Row(service(has_public_address=True), {"ecs.no-public-address": FAIL}, "assignPublicIp is ENABLED"),
    Row(service(has_public_address=None), {"ecs.no-public-address": NA}, "do not use the awsvpc network mode"),
    Row(
        container(leaked=("DB_PASSWORD",)),
        {"ecs.no-plaintext-secrets": FAIL},
        "web DB_PASSWORD: it contains a value of the secret",
    ),
    Row(container(credentials=("API_TOKEN",)), {"ecs.no-plaintext-secrets": FAIL}, "web API_TOKEN: it has a plaintext"),
    Row(
        container(environment_files=("arn:aws:s3:::shop/web.env",)),
        {"ecs.no-plaintext-secrets": UNKNOWN},
        "environment files are not read: arn:aws:s3:::shop/web.env",
    ),
    Row(
        container(environment_files=("arn:aws:s3:::shop/web.env",), secret_names=(), secrets=()),
        {"iam.execution-role": NA, "ecs.no-plaintext-secrets": UNKNOWN, "ecs.expected-secret": UNKNOWN},
        "the application reads its own",
    ),
    Row(
        container(environment_files=("arn:aws:s3:::shop/web.env",), credentials=("API_TOKEN",)),
        {"ecs.no-plaintext-secrets": FAIL},
        "web API_TOKEN: it has a plaintext",
    ),
    Row(
        container(secret_names=(("CLINIC_SECRET_ARN", ARN.replace("prod", "staging")),)),
        {"ecs.expected-secret": FAIL},
        "CLINIC_SECRET_ARN is arn:aws:secretsmanager:us-east-1:123456789012:secret:staging-AbCdEf, expected prod",
    ),
    Row(
        container(secret_names=(("CLINIC_SECRET_NAME", ""),)),
        {"ecs.expected-secret": FAIL},
        "CLINIC_SECRET_NAME is not prod",
    ),
    Row(
        container(secret_names=(("CLINIC", "prod"), ("SENTRY_SECRET_NAME", ""))),
        {"ecs.expected-secret": WARN},
        "it uses values of other secrets: the one of SENTRY_SECRET_NAME",
    ),
    *(Row(container(secret_names=(("ANY", name),)), {}) for name in (ARN, ARN[:-7], "prod-AbCdEf")),
    Row(container(secret_names=()), {}),
    Row(
        container(secrets=(("A", f"{ARN}:a::"), ("B", f"{ARN.replace('prod', 'sentry')}:dsn::"), ("C", "/shop/level"))),
        {"ecs.expected-secret": WARN},
        "it uses values of other secrets: arn:aws:secretsmanager:us-east-1:123456789012:secret:sentry-AbCdEf",
    ),
    Row(
        container(secret_names=(), secrets=()),
        {"iam.execution-role": NA, "ecs.expected-secret": NA},
        "the application reads its own",
    ),
    Row(container(image="shop:latest"), {"ecs.image-pinned": WARN}, "shop:latest"),
    Row(container(log_driver=None), {"ecs.logs": FAIL}, "it has no log driver"),
    Row(container(log_driver="none"), {"ecs.logs": FAIL}, "it has no log driver"),
    Row(container(is_privileged=True), {"ecs.unprivileged": FAIL}, "it is privileged"),
    *(
        Row(container(user=user), {"ecs.unprivileged": FAIL}, f"its user is {user}, which is root")
        for user in ("root", "0", "0:0", "root:root", "root:1000", "0:web", "00", "+0")
    ),
    *(Row(container(user=user), {}) for user in ("web", "web:root", "1000:0", "10001:10001", "rooted", "100")),
    Row(container(user=None), {"ecs.unprivileged": WARN}, "its user is the one of the image"),
    Row(container(has_readonly_root=None), {"ecs.unprivileged": WARN}, "its root file system is writable"),
]


def deployed(status: str | None, reason: str = "") -> Changes:
    """The last deployment."""
    return {"ecs_deployment": Deployment(status, NOW - 2 * DAY, reason)}


def default_group_allowed(security_groups: tuple[str, ...] = ()) -> Changes:
    """The application's security group is the default one of the VPC; the service has these."""
    default = replace(GROUPS["sg-app"], name="default")
    return {
        "network": Network({**GROUPS, "sg-app": default}, ("sg-db",)),
        **expect(app_security_groups=("sg-app",)),
        **service(security_groups=security_groups),
    }


SURROUNDINGS = [
    Row({"ecs_deployment": None}, {"ecs.not-rolled-back": NA}, "no deployment in the last 90 days"),
    Row(deployed("IN_PROGRESS"), {"ecs.not-rolled-back": NA}, "the deployment of 2026-02-27 is IN_PROGRESS"),
    Row(deployed(None), {"ecs.not-rolled-back": UNKNOWN}, "no status of the deployment"),
    Row(
        deployed("ROLLBACK_SUCCESSFUL", "the circuit breaker saw a failure"),
        {"ecs.not-rolled-back": FAIL},
        "the deployment of 2026-02-27 is ROLLBACK_SUCCESSFUL: the circuit breaker saw a failure",
    ),
    *(
        Row(deployed(status), {"ecs.not-rolled-back": FAIL}, f"is {status}")
        for status in ("STOPPED", "ROLLBACK_IN_PROGRESS", "ROLLBACK_FAILED")
    ),
    Row({"ecs_cluster": Cluster("prod", "enhanced")}, {}),
    Row(
        {"ecs_cluster": Cluster("prod", "disabled")}, {"ecs.container-insights": WARN}, "containerInsights is disabled"
    ),
    Row({"ecs_cluster": Cluster("prod", None)}, {"ecs.container-insights": UNKNOWN}, "no setting containerInsights"),
    Row({"ecs_targets": ()}, {"ecs.targets-healthy": NA}, "it has no target group"),
    Row(targets(), {"ecs.targets-healthy": FAIL}, "no target is registered"),
    Row(targets("healthy", "draining", "unhealthy.draining"), {}),
    Row(targets("draining"), {"ecs.targets-healthy": FAIL}, "none is healthy: 1 draining"),
    Row(targets("initial", "initial"), {"ecs.targets-healthy": FAIL}, "none is healthy: 2 initial"),
    Row(
        targets("healthy", "initial"),
        {"ecs.targets-healthy": WARN},
        "1 healthy, 1 initial: health checks",
    ),
    Row(targets("healthy", None), {"ecs.targets-healthy": UNKNOWN}, "no TargetHealth.State"),
    *(
        Row(targets("healthy", state), {"ecs.targets-healthy": FAIL}, f"10.0.1.1:8000 is {state} (Target.Timeout)")
        for state in ("unhealthy", "unused", "unavailable")
    ),
    Row(service(security_groups=None), {"ecs.reaches-database": NA}, "do not use the awsvpc network mode"),
    Row(service(security_groups=("sg-app", "sg-other")), {}),
    Row(expect(app_security_groups=("sg-app",)), {}),
    Row(
        service(security_groups=("sg-other",)),
        {"ecs.reaches-database": FAIL},
        'none of its security groups (sg-other) is both in DEPLOYTOOLS["APP_SECURITY_GROUPS"] and allowed',
    ),
    Row(service(security_groups=()), {"ecs.reaches-database": FAIL}, "(the default one of the VPC)"),
    Row(default_group_allowed(), {"ecs.reaches-database": UNKNOWN}, "might be sg-app; the database allows that group"),
    Row(default_group_allowed(security_groups=("sg-app",)), {}),
    Row(
        service(security_groups=("sg-bastion",)),
        {"ecs.reaches-database": FAIL},
        'none of its security groups (sg-bastion) is both in DEPLOYTOOLS["APP_SECURITY_GROUPS"] and allowed',
    ),
]


def defined(**members: Any) -> Changes:
    """A task definition as AWS returns it, with these members of its container."""
    item = {
        "name": "web",
        "image": CONTAINER.image,
        "environment": [{"name": "APP_SECRET_NAME", "value": "prod"}],
        "secrets": [{"name": "DJANGO_SECRET_KEY", "valueFrom": f"{ARN}:django_secret_key::"}],
        "user": "1000",
        "privileged": False,
        "readonlyRootFilesystem": True,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {"awslogs-group": "/ecs/web", "awslogs-region": "us-east-1"},
        },
    }
    values = {DOCUMENT["password"], DOCUMENT["django_secret_key"]}
    return {
        "task_definition": replace(WORLD["task_definition"], containers=(_container(item | members, values, "prod"),))
    }


def variable(name: str, value: str) -> Changes:
    return defined(environment=[{"name": "APP_SECRET_NAME", "value": "prod"}, {"name": name, "value": value}])


PLAIN = {"ecs.no-plaintext-secrets": FAIL}
TASK_DEFINITIONS = [
    *(
        Row(variable(name, value), dict(PLAIN), f"web {name}: it has a plaintext")
        for name, value in (
            ("DATABASE_URL", "postgres://shop:oldpw@db.example/shop"),
            ("CACHE", "rediss://:hunter2@cache.example:6379/0"),
            ("DB_PASS", "hunter2"),
            ("SMTP_PWD", "hunter2"),
            ("PGPASSWORD", "hunter2"),
            ("STRIPE_KEY", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
            ("PAYMENTS", "rk_live_4eC39HqLyjWDarjtT1zdp7dc"),
            ("AWS_ACCESS_KEY", "AKIAIOSFODNN7EXAMPLE"),
            ("WHO", "AKIAIOSFODNN7EXAMPLE"),
            ("GIT", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
            ("SALT", "bPxRfiCYEXAMPLEKEYwJalrXUtnFEMI12"),
            ("DJANGO_SECRET_KEY", "django-insecure-abc"),
            ("SENTRY_API_KEY", "abc"),
            ("PUBLIC_STORAGE_SECRET_ACCESS_KEY", "wJalrXUtnFEMI7K7MDENG0bPxRfiCYEXAMPLE4KEY"),
            ("PUBLIC_SITE_PASSWORD", "hunter2"),
        )
    ),
    Row(variable("X", DOCUMENT["password"]), dict(PLAIN), "web X: it contains a value of the secret"),
    Row(defined(command=["serve", "--db-password=hunter2"]), dict(PLAIN), "web command db-password"),
    Row(defined(command=["serve", "--db-password", "hunter2"]), dict(PLAIN), "web command --db-password"),
    Row(defined(command=["sh", "-c", "PGPASSWORD=hunter2 psql"]), dict(PLAIN), "web command PGPASSWORD"),
    Row(defined(entryPoint=["psql", "postgres://u:pw@db/shop"]), dict(PLAIN), "web entryPoint"),
    Row(defined(dockerLabels={"com.example.api-key": "abc"}), dict(PLAIN), "web label com.example.api-key"),
    *(
        Row(variable(name, value), good=("ecs.no-plaintext-secrets",))
        for name, value in (
            ("PASSWORD_RESET_TIMEOUT", "3600"),
            ("TOKEN_TTL", "15m"),
            ("CSRF_TOKEN_HEADER", "HTTP_X_CSRFTOKEN"),
            ("USE_SECRETS_MANAGER", "true"),
            ("MYSQL_ALLOW_EMPTY_PASSWORD", "yes"),
            ("TENANT_SECRET_PREFIX", "rds/shop/tenant/"),
            ("AUTH_PASSWORD_VALIDATORS", "shop.validators.Long"),
            ("SECRET_REGION", "us-gov-west-1"),
            ("SITE_URL", "https://www.shop.net/?a=b@c"),
            ("GIT_SHA", "9c1185a5c5e9fc54612808977ee8f548b2258d31"),
            ("STRIPE_PUBLISHABLE_KEY", "pk_live_51AbCdEfGhIjKlMnOpQrStUv"),
            ("DJANGO_SETTINGS_MODULE", "prod.settings"),
            ("KEYBOARD", "qwerty"),
            ("PASSENGER_COUNT", "many"),
            ("PWD", "app"),
            ("RECAPTCHA_PUBLIC_KEY", "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ4MXjiZKhI"),
        )
    ),
    *(
        Row(defined(command=["sh", "-c", command]), good=("ecs.no-plaintext-secrets",))
        for command in (
            'mysql -e "select 1" && gunicorn -preload',
            "mysql -h db; gunicorn -preload",
            "mysqladmin ping -port 3306",
            "PWD=app run",
        )
    ),
    Row(defined(command=["sh", "-c", "mysql -h db -phunter2 && run"]), dict(PLAIN), "web command mysql"),
    Row(defined(command=["sh", "-c", "run --dsn Server=db;Uid=a;Pwd=hunter2"]), dict(PLAIN), "web command"),
    Row(defined(command=["gunicorn", "--workers=3", "--timeout", "30"]), good=("ecs.no-plaintext-secrets",)),
    Row(defined(dockerLabels={"version": "1.2.3"}), good=("ecs.no-plaintext-secrets",)),
]
