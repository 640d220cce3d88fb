"""Search everything that an error refers to: messages, attributes, causes, contexts and local variables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import FrameType, FunctionType, MethodType, ModuleType, TracebackType
from typing import Any

from deploytools.secrets.document import Document, Secret
from tests.fakes.secretsmanager import Fake

#: Objects that are not searched: they mask their values, or belong to the program and not to the error.
ENDS = (Secret, Document, Fake, ModuleType, type, FunctionType, MethodType)
TESTS = str(Path(__file__).parents[1])


def reachable(error: BaseException) -> Iterator[str]:
    """Yield each string that `error` refers to, except local variables of the tests and of pytest."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, str):
            yield item
        elif isinstance(item, bytes | bytearray):
            yield item.decode(errors="replace")
        elif not isinstance(item, ENDS):
            waiting += _inside(item)


def _inside(item: Any) -> list[Any]:
    if isinstance(item, TracebackType):
        return [item.tb_frame, item.tb_next]
    if isinstance(item, FrameType):
        return [] if item.f_code.co_filename.startswith(TESTS) else list(item.f_locals.values())
    if isinstance(item, dict):
        return [*item, *item.values()]
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    found: list[Any] = list(getattr(item, "__dict__", {}).values())
    found += [getattr(item, name, None) for name in getattr(type(item), "__slots__", ())]
    if isinstance(item, BaseException):
        found += [item.args, item.__cause__, item.__context__, item.__traceback__]
        found += [getattr(item, name, None) for name in ("doc", "object")]
    return found
