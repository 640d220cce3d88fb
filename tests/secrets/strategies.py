"""Hypothesis strategies for documents."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from deploytools.secrets.document import Document

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(10**60), 10**60) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=6)


def reveal(document: Document) -> dict[str, Any]:
    return {key: document[key].reveal() for key in document}
