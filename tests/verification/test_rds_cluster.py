"""Instances of DB clusters: Aurora PostgreSQL, and Multi-AZ DB clusters."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploytools.conf import Settings
from deploytools.errors import ConfigurationError, NotFound
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState
from deploytools.verification.fact_result import Failed, Value
from deploytools.verification.findings import Status
from deploytools.verification.iam.policies import decision, parse_policy
from deploytools.verification.least_privilege import SCOPES, policy
from deploytools.verification.rds.checks import modify_hint, modify_now_hint
from deploytools.verification.rds.facts import (
    RdsInstance,
    ServerInUse,
    rds_instance,
    rds_parameters,
    rds_readers,
    server_in_use,
)
from deploytools.verification.registry import load_registry
from deploytools.verification.runner import evaluate_checks, read_facts
from tests.fakes.aws_api import respond
from tests.verification.zoo.world import FACTS, OURS, RDS

ENDPOINT = "abc123.us-east-1.rds.amazonaws.com"
PLACE = "arn:aws:rds:us-east-1:123456789012"
NOW = datetime.now(UTC)
MEMBER: dict[str, Any] = {
    "DBInstanceIdentifier": "orders-1",
    "DBInstanceArn": f"{PLACE}:db:orders-1",
    "DBClusterIdentifier": "orders",
    "DBInstanceStatus": "available",
    "DBInstanceClass": "db.r6g.large",
    "Engine": "aurora-postgresql",
    "EngineVersion": "16.10",
    "Endpoint": {"Address": f"orders-1.{ENDPOINT}", "Port": 5432},
    "DeletionProtection": False,
    "BackupRetentionPeriod": 1,
    "StorageEncrypted": False,
    "PreferredMaintenanceWindow": "sun:05:00-sun:05:30",
    "AllocatedStorage": 1,
    "DBParameterGroups": [{"DBParameterGroupName": "orders-1-16", "ParameterApplyStatus": "pending-reboot"}],
    "PubliclyAccessible": False,
    "AutoMinorVersionUpgrade": True,
    "MonitoringInterval": 60,
    "PendingModifiedValues": {"DBInstanceClass": "db.r6g.xlarge"},
    "CertificateDetails": {"CAIdentifier": "rds-ca-rsa2048-g1", "ValidTill": NOW + timedelta(days=300)},
}
CLUSTER: dict[str, Any] = {
    "DBClusterIdentifier": "orders",
    "DBClusterArn": f"{PLACE}:cluster:orders",
    "Endpoint": f"orders.cluster-{ENDPOINT}",
    "ReaderEndpoint": f"orders.cluster-ro-{ENDPOINT}",
    "CustomEndpoints": [f"reports.cluster-custom-{ENDPOINT}"],
    "DeletionProtection": True,
    "BackupRetentionPeriod": 14,
    "PreferredBackupWindow": "03:00-03:30",
    "StorageEncrypted": True,
    "MultiAZ": True,
    "CopyTagsToSnapshot": True,
    "EnabledCloudwatchLogsExports": ["postgresql"],
    "ClusterCreateTime": NOW - timedelta(days=300),
    "DBClusterParameterGroup": "orders-16",
    "PendingModifiedValues": {"EngineVersion": "16.11"},
    "TagList": [{"Key": "deploytools:restore-drill", "Value": f"{NOW - timedelta(days=9):%Y-%m-%d}"}],
    "DBClusterMembers": [
        {
            "DBInstanceIdentifier": "orders-2",
            "IsClusterWriter": False,
            "DBClusterParameterGroupStatus": "pending-reboot",
        },
        {"DBInstanceIdentifier": "orders-1", "IsClusterWriter": True, "DBClusterParameterGroupStatus": "in-sync"},
    ],
}
READER = MEMBER | {
    "DBInstanceIdentifier": "orders-2",
    "DBInstanceArn": f"{PLACE}:db:orders-2",
    "DBInstanceStatus": "storage-full",
    "Endpoint": {"Address": f"orders-2.{ENDPOINT}", "Port": 5432},
    "DBParameterGroups": [],
    "PubliclyAccessible": True,
    "AutoMinorVersionUpgrade": False,
    "PendingModifiedValues": {},
    "CertificateDetails": {"CAIdentifier": "rds-ca-2019", "ValidTill": NOW - timedelta(days=3)},
}
SNAPSHOTS = [
    {
        "DBClusterSnapshotIdentifier": f"{kind}-orders",
        "SnapshotType": kind,
        "StorageEncrypted": True,
        "Status": "available",
        "SnapshotCreateTime": NOW - timedelta(hours=9),
    }
    for kind in ("manual", "automated")
]
SHARED = {"AttributeName": "restore", "AttributeValues": ["999999999999"]}
ACTIONS = sorted(SCOPES["DbClusters"])
CHECKS = [check for check in OURS if check.area == "rds"]
SOURCES = {
    name: source
    for name, source in load_registry().sources_for(CHECKS).items()
    if name == "rds_instance" or "rds_instance" in source.needs
}


@pytest.fixture
def api(monkeypatch) -> dict[str, Any]:
    """The responses of the RDS API, by operation; an exception is raised."""
    responses: dict[str, Any] = {
        "DescribeDBInstances": lambda request: _found(request["DBInstanceIdentifier"]),
        # Minutes ago when it is asked: the tests of a whole run take longer than the limit of the check.
        "DescribeDBClusters": lambda _: {
            "DBClusters": [CLUSTER | {"LatestRestorableTime": datetime.now(UTC) - timedelta(minutes=4)}]
        },
        "DescribeDBClusterParameters": {
            "Parameters": [
                {"ParameterName": "rds.force_ssl", "ParameterValue": "1"},
                {"ParameterName": "max_connections", "ParameterValue": "LEAST({DBInstanceClassMemory/9531392},5000)"},
            ]
        },
        "DescribeDBParameters": {"Parameters": [{"ParameterName": "max_connections", "ParameterValue": "100"}]},
        "DescribeDBClusterSnapshots": {"DBClusterSnapshots": SNAPSHOTS},
        "DescribeDBClusterSnapshotAttributes": {
            "DBClusterSnapshotAttributesResult": {"DBClusterSnapshotAttributes": [SHARED]}
        },
        "DescribePendingMaintenanceActions": lambda request: {
            "PendingMaintenanceActions": [
                {
                    "PendingMaintenanceActionDetails": [
                        {"Action": request["ResourceIdentifier"].rpartition(":")[2]}
                        | ({} if request["ResourceIdentifier"].endswith("-1") else {"ForcedApplyDate": NOW})
                    ]
                }
            ]
        },
        "DescribeLogGroups": {"logGroups": [{"logGroupName": "/aws/rds/cluster/orders/postgresql"}]},
        "DescribeDBEngineVersions": {"DBEngineVersions": [{"ValidUpgradeTarget": []}]},
        "DescribeDBMajorEngineVersions": {"DBMajorEngineVersions": []},
        "requests": [],
    }

    def answer(operation: str, request: dict[str, Any]) -> Any:
        responses["requests"].append((operation, request))
        response = responses[operation]
        if isinstance(response, str):
            raise ClientError({"Error": {"Code": response, "Message": "no"}}, operation)
        return response(request) if callable(response) else response

    respond(monkeypatch, answer)
    return responses


def _found(name: str) -> dict[str, Any]:
    if name == "orders-2":
        return {"DBInstances": [READER]}
    if name != "orders-1":
        raise ClientError({"Error": {"Code": "DBInstanceNotFound", "Message": "no"}}, "DescribeDBInstances")
    return {"DBInstances": [MEMBER]}


def stored(host: str, **values: str) -> SecretState:
    return SecretState("prod", "us-east-1", "v1", Document({"host": host, **values}), {})


def read(**settings: Any) -> dict[str, Any]:
    given = {"secret": stored(f"orders.cluster-{ENDPOINT}"), "settings": Settings(**settings)}
    needed = {name for source in SOURCES.values() for name in source.needs} - set(SOURCES)
    others = {name: fact.value for name, fact in FACTS.items() if name in needed and isinstance(fact, Value)}
    return read_facts(SOURCES, others | given)


@pytest.mark.parametrize(
    ("host", "values", "settings"),
    [
        (f"orders.cluster-{ENDPOINT}", {}, {}),
        (f"orders.cluster-ro-{ENDPOINT}", {}, {}),
        (f"orders-1.{ENDPOINT}", {}, {}),
        ("localhost", {"dbClusterIdentifier": "orders"}, {}),
        ("localhost", {"dbClusterIdentifier": "x"}, {"rds_instance": "orders-1"}),
    ],
)
def test_the_instance_has_the_properties_of_its_cluster(api, host, values, settings):
    found = rds_instance(stored(host, **values), Settings(**settings))
    assert (found.identifier, found.cluster, found.arn, found.member_arn) == (
        "orders-1", "orders", f"{PLACE}:cluster:orders", f"{PLACE}:db:orders-1",
    )  # fmt: skip
    assert (found.endpoint, found.member_endpoint, found.is_aurora) == (
        f"orders.cluster-{ENDPOINT}", f"orders-1.{ENDPOINT}", True,
    )  # fmt: skip
    assert (found.deletion_protection, found.backup_days, found.is_encrypted, found.is_multi_az) == (
        True,
        14,
        True,
        True,
    )
    assert found.parameter_groups == (("orders-16", "in-sync"),)
    assert found.instance_groups == (("orders-1-16", "pending-reboot"),)
    assert (found.pending, found.cluster_pending) == (
        ("DBInstanceClass = db.r6g.xlarge",),
        ("EngineVersion = 16.11",),
    )
    changes = {
        "BackupRetentionPeriod": 0,
        "IAMDatabaseAuthenticationEnabled": False,
        "PendingCloudwatchLogsExports": {},
    }
    api["DescribeDBClusters"] = {"DBClusters": [CLUSTER | {"PendingModifiedValues": changes}]}
    found = rds_instance(stored(host, **values), Settings(**settings))
    assert found.cluster_pending == (
        "BackupRetentionPeriod = 0",
        "IAMDatabaseAuthenticationEnabled = false",
        "PendingCloudwatchLogsExports",
    )


def test_what_the_cluster_does_not_have_is_missing(api):
    api["DescribeDBClusters"] = {"DBClusters": [{"DBClusterIdentifier": "orders"}]}
    found = rds_instance(stored(f"orders-1.{ENDPOINT}"), Settings())
    assert (found.deletion_protection, found.backup_days, found.is_encrypted) == (None, None, None)
    assert found.parameter_groups == ()


@pytest.mark.parametrize("response", ["DBClusterNotFoundFault", {"DBClusters": []}, {"DBClusters": [{}]}])
def test_neither_an_instance_nor_a_cluster(api, response):
    api["DescribeDBClusters"] = response
    with pytest.raises(NotFound, match=r"^the RDS instance missing in us-east-1 does not exist\.$"):
        rds_instance(stored(f"missing.{ENDPOINT}"), Settings())


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (f"orders.cluster-{ENDPOINT}", ServerInUse(True, True)),
        (f"ORDERS-1.{ENDPOINT}.", ServerInUse(True, True, is_member=True)),
        (f"orders.cluster-ro-{ENDPOINT}", ServerInUse(False, True, is_reader=True)),
        (f"reports.cluster-custom-{ENDPOINT}", ServerInUse(False, True, is_reader=True)),
        (f"orders-2.{ENDPOINT}", ServerInUse(False, True, is_reader=True)),
        (f"other.cluster-custom-{ENDPOINT}", ServerInUse(False, True)),
        ("db.shop.net", ServerInUse(False, False)),
    ],
)
def test_the_server_in_use(api, host, expected):
    found = rds_instance(stored(f"orders-1.{ENDPOINT}"), Settings())
    assert server_in_use(stored(host), found, rds_readers(found, Settings())) == expected


def test_the_name_of_a_custom_endpoint_is_not_that_of_the_cluster(api):
    with pytest.raises(ConfigurationError, match=r"^The RDS instance is not set"):
        rds_instance(stored(f"reports.cluster-custom-{ENDPOINT}"), Settings())


def test_the_checks_of_a_cluster(api):
    """Only the faults of the example are reported, each of the instance or of the cluster that has it."""
    facts = {**FACTS, **read()}
    found = evaluate_checks(CHECKS, facts)
    assert {(f.check.id, f.resource): f.status for f in found if f.status is not Status.PASS} == {
        ("rds.available", "orders-2"): Status.FAIL,
        ("rds.certificate", "orders-2"): Status.FAIL,
        ("rds.minor-upgrades", "orders-2"): Status.FAIL,
        ("rds.not-public", "orders-2"): Status.FAIL,
        ("rds.parameters-applied", "orders-1"): Status.FAIL,
        ("rds.parameters-applied", "orders-2"): Status.FAIL,
        ("rds.no-pending-changes", "orders-1"): Status.WARN,
        ("rds.no-pending-changes", "cluster orders"): Status.WARN,
        ("rds.maintenance", "orders-2 orders-2"): Status.WARN,
        ("rds.maintenance", "cluster orders orders"): Status.WARN,
        ("rds.engine-supported", "orders-1"): Status.UNKNOWN,
        ("rds.master-secret", "orders-1"): Status.NOT_APPLICABLE,
        ("rds.snapshots-private", "manual-orders 999999999999"): Status.WARN,
    }
    hints = {finding.check.id: finding.hint for finding in found if finding.resource != "orders-1"}
    assert hints["rds.not-public"].startswith("Run: aws rds modify-db-instance --db-instance-identifier orders-2 ")
    assert hints["rds.snapshots-private"] == (
        "Run: aws rds modify-db-cluster-snapshot-attribute --db-cluster-snapshot-identifier manual-orders "
        "--attribute-name restore --values-to-remove 999999999999"
    )
    pending = {f.resource: f.hint.partition(" (")[0] for f in found if f.check.id == "rds.no-pending-changes"}
    assert pending == {
        "orders-1": "Run: aws rds modify-db-instance --db-instance-identifier orders-1 --apply-immediately",
        "orders-2": "",
        "cluster orders": "Run: aws rds modify-db-cluster --db-cluster-identifier orders --apply-immediately",
    }
    maintenance = {f.resource: f.hint.split()[5] for f in found if f.check.id == "rds.maintenance" and f.hint}
    assert maintenance == {
        "cluster orders orders": f"{PLACE}:cluster:orders", "orders-2 orders-2": f"{PLACE}:db:orders-2",
    }  # fmt: skip


#: The resource type of each parameter that names a resource.
RESOURCES = {
    "DBInstanceIdentifier": "db",
    "DBParameterGroupName": "pg",
    "DBClusterIdentifier": "cluster",
    "DBClusterParameterGroupName": "cluster-pg",
}


@pytest.mark.parametrize("name", ["", "orders", "orders-1"])
def test_the_policy_allows_every_request(api, name):
    read(rds_instance=name)
    document = parse_policy("own", policy(load_registry().actions_for(CHECKS), Settings(rds_instance=name)))
    asked = [(operation, key, value) for operation, request in api["requests"] for key, value in request.items()]
    named = [(f"rds:{op}", f"{PLACE}:{RESOURCES[key]}:{value}") for op, key, value in asked if key in RESOURCES]
    named += [(f"rds:{op}", value) for op, key, value in asked if key == "ResourceIdentifier"]
    assert {arn.rpartition(":")[2] for _, arn in named} == {
        "orders",
        "orders-1",
        "orders-2",
        "orders-16",
        "orders-1-16",
    }
    assert [request for request in named if not decision([document], *request)[1]] == []


@pytest.mark.parametrize("action", ACTIONS)
def test_one_denied_action_of_a_cluster(api, action):
    api[action.partition(":")[2]] = "AccessDenied"
    affected = [check for check in CHECKS if action in load_registry().actions_for([check])]
    assert affected
    facts = read()
    found = evaluate_checks(affected, {**FACTS, **facts})
    assert {finding.status for finding in found} == {Status.UNKNOWN}
    assert all(action in finding.hint for finding in found)
    assert any(isinstance(fact, Failed) and getattr(fact.error, "action", "") == action for fact in facts.values())


def test_the_group_of_the_instance_overrides_the_parameters_of_its_cluster(api):
    found = rds_parameters(rds_instance(stored(f"orders-1.{ENDPOINT}"), Settings()), Settings())
    assert found == {"rds.force_ssl": "1", "max_connections": "100"}
    assert ("DescribeDBParameters", {"DBParameterGroupName": "orders-1-16", "Source": "user"}) in api["requests"]


def test_read_replicas_are_readers(api):
    """One is in another Region, where RDS names it by its ARN."""
    place = "arn:aws:rds:eu-west-1:123456789012:db"
    alone: dict[str, Any] = {key: value for key, value in MEMBER.items() if key != "DBClusterIdentifier"}
    names = {"shop": ["shop-2", f"{place}:shop-eu"]}
    api["DescribeDBInstances"] = lambda request: {
        "DBInstances": [
            alone
            | {
                "DBInstanceIdentifier": request["DBInstanceIdentifier"],
                "PubliclyAccessible": request["DBInstanceIdentifier"] not in names,
                "ReadReplicaDBInstanceIdentifiers": names.get(request["DBInstanceIdentifier"], []),
            }
        ]
    }
    instance = rds_instance(stored("localhost"), Settings(rds_instance="shop"))
    readers = rds_readers(instance, Settings())
    assert [(reader.identifier, reader.region) for reader in readers] == [("shop-eu", "eu-west-1"), ("shop-2", "")]
    found = evaluate_checks(
        [check for check in CHECKS if check.id == "rds.not-public"],
        {"rds_instance": Value(instance), "rds_readers": Value(readers)},
    )
    command = "Run: aws rds modify-db-instance --db-instance-identifier"
    assert {item.resource: (item.status, item.hint) for item in found} == {
        "shop": (Status.PASS, ""),
        "shop-2": (Status.FAIL, f"{command} shop-2 --no-publicly-accessible"),
        "shop-eu": (Status.FAIL, f"{command} shop-eu --region eu-west-1 --no-publicly-accessible"),
    }


def test_pending_changes_of_a_member_of_a_multi_az_db_cluster():
    member = replace(RDS, cluster="orders", pending=("DBInstanceClass",))
    facts = {**FACTS, "rds_instance": Value(member)}
    (found,) = evaluate_checks([check for check in CHECKS if check.id == "rds.no-pending-changes"], facts)
    assert found.hint.startswith("Run: aws rds modify-db-cluster --db-cluster-identifier orders --apply-immediately (")


def test_commands_for_a_cluster():
    member = RdsInstance("orders-1", NOW, cluster="orders")
    assert modify_hint(member, "--deletion-protection") == (
        "Run: aws rds modify-db-cluster --db-cluster-identifier orders --deletion-protection"
    )
    assert modify_now_hint(member, "--engine-version 16.11") == (
        "Run: aws rds modify-db-cluster --db-cluster-identifier orders --engine-version 16.11 --apply-immediately"
    )
    assert modify_hint(member, "--no-publicly-accessible").startswith(
        "Run: aws rds modify-db-instance --db-instance-identifier orders-1 "
    )
    pending = replace(member, pending=("DBInstanceClass",), cluster_pending=("EngineVersion",))
    assert "restart it: EngineVersion)" in modify_now_hint(pending, "--engine-version 16.11")
    assert "restart it: DBInstanceClass)" in modify_now_hint(pending, "--multi-az")


@pytest.mark.parametrize(("engine", "kind"), [("aurora-postgresql", "instance"), ("postgres", "cluster")])
def test_options_of_a_multi_az_db_cluster(engine, kind):
    member = RdsInstance("orders-1", NOW, cluster="orders", engine=engine)
    for option in ("--auto-minor-version-upgrade", "--ca-certificate-identifier A", "--monitoring-interval 60"):
        assert modify_hint(member, option).startswith(f"Run: aws rds modify-db-{kind} ")
