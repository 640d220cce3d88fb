"""Canned responses in the place of the AWS API, with the shapes of botocore's model of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.client import BaseClient
from botocore.validate import ParamValidator


def respond(monkeypatch: Any, answer: Callable[[str, dict[str, Any]], Any]) -> None:
    """Let `answer` return the response to each operation and request, for all clients."""

    def call(client: Any, operation: str, request: dict[str, Any]) -> Any:
        model = client.meta.service_model.operation_model(operation)
        _validate(request, model.input_shape)
        response = answer(operation, request)
        _validate(response, model.output_shape)
        return response

    monkeypatch.setattr(BaseClient, "_make_api_call", call)


def _validate(value: dict[str, Any], shape: Any) -> None:
    errors = ParamValidator().validate(value, shape)
    assert not errors.has_errors(), errors.generate_report()
