"""The public names of `backend`, `loader`, `settings` and `errors` in `deploytools`. A host's code imports them."""

from __future__ import annotations

import inspect

from deploytools import backend, errors, loader, settings


def test_loader():
    assert loader.__all__ == ["load_secrets", "load_tenant_secret", "require_keys"]
    for name in loader.__all__:
        assert inspect.getdoc(getattr(loader, name)), name


def test_settings():
    assert settings.__all__ == ["production_settings"]
    documentation = inspect.getdoc(settings.production_settings) or ""
    assert all(f"{section}:\n" in documentation for section in ("Args", "Returns", "Raises"))
    signature = inspect.signature(settings.production_settings, eval_str=True)
    assert list(signature.parameters) == ["base", "tenant", "allowed_hosts", "from_secret", "base_settings"]


def test_backend():
    assert backend.__all__ == ["login_changed"]


def test_errors():
    classes = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert set(errors.__all__) == {*classes, "format_error"}
    assert {"DeployError", "Refused", "AwsError", "SecretError", "DatabaseError", "ConnectionFailure"} <= classes
