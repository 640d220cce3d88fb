"""Parse HTML: elements, their text, and the values of forms."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

#: Elements without an end tag.
EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass
class Element:
    """An element. `text` includes the text of its descendants."""

    tag: str
    attributes: dict[str, str]
    parent: Element | None = field(repr=False)
    text: str = ""

    def inside(self, tag: str) -> bool:
        """Return whether an ancestor has this tag."""
        return self.parent is not None and (self.parent.tag == tag or self.parent.inside(tag))


class Page(HTMLParser):
    """A parsed page. Fails if an end tag does not match the last open element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: Element | None = None
        self.feed(html)
        self.close()
        assert self._open is None, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self._open)
        self.elements.append(element)
        if tag not in EMPTY:
            self._open = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}, self._open))

    def handle_endtag(self, tag: str) -> None:
        assert self._open is not None and self._open.tag == tag, f"</{tag}> in {self._open}"
        self._open = self._open.parent

    def handle_data(self, data: str) -> None:
        element = self._open
        while element is not None:
            element.text += data
            element = element.parent

    def all(self, *tags: str) -> list[Element]:
        """Return the elements with these tags in document order."""
        return [element for element in self.elements if element.tag in tags]

    def values(self, form: Element) -> dict[str, str]:
        """Return the values that a browser would send of the unchanged form."""
        sent: dict[str, str] = {}
        for element in self.all("input", "textarea", "option"):
            if not _is_within(element, form):
                continue
            sent |= _option(element) if element.tag == "option" else _field(element)
        return sent


def _is_within(element: Element, ancestor: Element) -> bool:
    while element.parent is not None and element is not ancestor:
        element = element.parent
    return element is ancestor


def _field(element: Element) -> dict[str, str]:
    name, kind = element.attributes.get("name"), element.attributes.get("type", "text")
    if not name or kind == "submit" or (kind in {"checkbox", "radio"} and "checked" not in element.attributes):
        return {}
    if element.tag == "textarea":
        return {name: element.text.strip("\r\n")}
    return {name: element.attributes.get("value", "on" if kind == "checkbox" else "")}


def _option(element: Element) -> dict[str, str]:
    assert element.parent is not None
    name = element.parent.attributes.get("name")
    return {name: element.attributes.get("value", "")} if name and "selected" in element.attributes else {}
