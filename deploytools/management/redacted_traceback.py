"""Tracebacks of unexpected exceptions, for ``--traceback``: no values of variables, and no credential in any text."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from django.views.debug import SafeExceptionReporterFilter

from deploytools.secrets.contract import FIELDS, by_name
from deploytools.secrets.document import MASK, Document, Secret
from deploytools.secrets.plan import SecretState
from deploytools.verification.secret.secret_scan import encoded_forms
from deploytools.verification.unexpected import recorders

#: Django's pattern for names of settings and variables that are credentials.
CREDENTIAL = SafeExceptionReporterFilter.hidden_settings

#: A shorter value can occur in any text.
MIN_LENGTH = 4


@contextmanager
def recorded_errors() -> Iterator[list[BaseException]]:
    """Return the unexpected exceptions of the block."""
    errors: list[BaseException] = []
    recorders.append(errors)
    try:
        yield errors
    finally:
        recorders.remove(errors)


def format_redacted(error: BaseException, documents: Iterable[Document]) -> str:
    """Return the traceback of `error` and of its causes, with credentials masked.

    Masked are the values of secrets in `documents` and in variables of the traceback's frames, and the credentials
    in Django's settings and in the environment, each also encoded.
    """
    settings = vars(sys.modules.get(os.environ.get("DJANGO_SETTINGS_MODULE", ""), object))
    found = {*_named("", dict(os.environ)), *_named("", {key: settings[key] for key in settings if key.isupper()})}
    for value in (*documents, *_variables(error)):
        found.update(_of_secret(value))
    forms = {form for value in found if len(value) >= MIN_LENGTH for form in _forms(value)}
    text = "".join(traceback.format_exception(error))
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def _forms(value: str) -> set[str]:
    return {repr(value)[1:-1], quote(value), *(form.decode() for form in encoded_forms(value))}


def _named(name: str, value: object) -> Iterator[str]:
    """The strings in `value` whose name is that of a credential."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _named(str(key), item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _named(name, item)
    elif isinstance(value, str) and CREDENTIAL.search(name):
        yield value


def _variables(error: BaseException) -> Iterator[object]:
    """The local variables of all frames of `error` and of the exceptions that it was raised from."""
    seen: set[int] = set()
    errors = [error]
    while errors:
        current = errors.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        for frame, _ in traceback.walk_tb(current.__traceback__):
            yield from frame.f_locals.values()
        linked = (current.__cause__, current.__context__, *getattr(current, "exceptions", ()))
        errors += [link for link in linked if link]


def _of_secret(value: object) -> Iterator[str]:
    """The credentials of a secret, of its state or of a single value; a key without a field is one."""
    if isinstance(value, Secret):
        yield from _strings(value.reveal())
    elif isinstance(value, Document | SecretState):
        document = value if isinstance(value, Document) else value.document
        known = by_name(FIELDS)
        for key, item in document.items():
            if key not in known or known[key].is_sensitive:
                yield from _strings(item.reveal())


def _strings(value: object) -> Iterator[str]:
    """The strings and numbers in a JSON value."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
    elif not (value is None or isinstance(value, bool)):
        yield str(value)
