"""Patches of moto's Secrets Manager: what AWS documents and moto answers differently. Each is named after its rule.

https://docs.aws.amazon.com/secretsmanager/latest/apireference/
"""

from __future__ import annotations

from typing import Any

from moto.secretsmanager.exceptions import (
    InvalidParameterException,
    InvalidRequestException,
    OperationNotPermittedOnReplica,
    ResourceExistsException,
    ResourceNotFoundException,
    SecretNotFoundException,
)
from moto.secretsmanager.models import FakeSecret, ReplicaSecret, SecretsManagerBackend

CURRENT, PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"
MAXIMUM_BYTES = 65_536

_put_secret_value = SecretsManagerBackend.put_secret_value


def install() -> None:
    """Patch moto in this process."""
    setattr(SecretsManagerBackend, "update_secret_version_stage", _move_label_atomically)  # noqa: B010
    setattr(SecretsManagerBackend, "put_secret_value", _put_once_within_limits)  # noqa: B010
    setattr(FakeSecret, "reset_default_version", _keep_other_labels)  # noqa: B010


def _move_label_atomically(
    backend: SecretsManagerBackend,
    secret_id: str,
    version_stage: str,
    remove_from_version_id: str,
    move_to_version_id: str,
) -> tuple[str, str]:
    """UpdateSecretVersionStage: "If the label is attached and you either do not specify the RemoveFromVersionId
    parameter, or the version ID does not match, then the operation fails." moto removes the label before it checks the
    version to move to, requires RemoveFromVersionId for AWSCURRENT only, and does not change which version is read by
    default.
    """
    secret = _find(backend, secret_id)
    holder = _holder(secret, version_stage)
    if move_to_version_id and move_to_version_id not in secret.versions:
        raise ResourceNotFoundException("Secrets Manager can't find the specified secret version.")
    is_only_removed = not move_to_version_id
    if holder != (remove_from_version_id or "") or (is_only_removed and (version_stage == CURRENT or not holder)):
        raise InvalidParameterException(f"Staging label {version_stage} is attached to {holder or 'no version'}.")
    if holder:
        _stages(secret, holder).remove(version_stage)
    if move_to_version_id:
        _stages(secret, move_to_version_id).append(version_stage)
    if version_stage == CURRENT and holder != move_to_version_id:
        _move_previous(secret, holder)
        secret.default_version_id = move_to_version_id
    _drop_previous_of_current(secret)
    return secret.arn, secret.name


def _put_once_within_limits(
    backend: SecretsManagerBackend,
    secret_id: str,
    secret_string: str,
    secret_binary: str,
    client_request_token: str,
    version_stages: list[str],
) -> str:
    """PutSecretValue: "If a version with this value already exists and the version of the SecretString or SecretBinary
    values are the same as those in the request, then the request is ignored." With another value it fails. A
    SecretString has at most 65,536 bytes. A secret that is scheduled for deletion does not take a value.
    """
    secret = _find(backend, secret_id)
    stored = secret.versions.get(client_request_token)
    if stored and (stored.get("secret_string"), stored.get("secret_binary")) == (secret_string, secret_binary):
        response: str = secret.to_short_dict(include_version_stages=True, version_id=client_request_token)
        return response
    if secret.is_deleted():
        raise InvalidRequestException("You can't perform this operation on the secret: it is marked for deletion.")
    if len((secret_string or "").encode()) > MAXIMUM_BYTES:
        raise InvalidParameterException(f"SecretString has at most {MAXIMUM_BYTES} bytes.")
    if stored and (stored.get("secret_string") or stored.get("secret_binary")):  # A rotation begins without a value.
        raise ResourceExistsException("A version with this ClientRequestToken exists and has another value.")
    return _put_secret_value(backend, secret_id, secret_string, secret_binary, client_request_token, version_stages)


def _keep_other_labels(secret: FakeSecret, secret_version: dict[str, Any], version_id: str) -> None:
    """PutSecretValue and UpdateSecret move AWSCURRENT and AWSPREVIOUS, and the labels that the new version gets. moto
    removes all labels of the version that was current.
    """
    before = _holder(secret, CURRENT)
    for label in secret_version["version_stages"]:
        if holder := _holder(secret, label):
            _stages(secret, holder).remove(label)
    secret.versions[version_id] = secret_version
    if before != version_id:
        _move_previous(secret, before)
    secret.default_version_id = version_id
    _drop_previous_of_current(secret)


def _find(backend: SecretsManagerBackend, secret_id: str) -> FakeSecret:
    if secret_id not in backend.secrets:
        raise SecretNotFoundException
    secret = backend.secrets[secret_id]
    if isinstance(secret, ReplicaSecret):
        raise OperationNotPermittedOnReplica
    return secret


def _move_previous(secret: FakeSecret, version: str) -> None:
    """Attach AWSPREVIOUS to the version that AWSCURRENT was removed from."""
    if holder := _holder(secret, PREVIOUS):
        _stages(secret, holder).remove(PREVIOUS)
    if version:
        _stages(secret, version).append(PREVIOUS)


def _drop_previous_of_current(secret: FakeSecret) -> None:
    current = _holder(secret, CURRENT)
    if current and PREVIOUS in _stages(secret, current):
        _stages(secret, current).remove(PREVIOUS)


def _holder(secret: FakeSecret, label: str) -> str:
    return next((version for version in secret.versions if label in _stages(secret, version)), "")


def _stages(secret: FakeSecret, version: str) -> list[str]:
    stages: list[str] = secret.versions[version]["version_stages"]
    return stages
