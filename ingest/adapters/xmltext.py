"""XML as data: elements, attributes and texts. No document type, and so no entities that grow while they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

DEPTH_MAX = 32
ELEMENTS_MAX = 50_000
"""A hundred notifications of five hundred fields. A body may consist of ten times as many empty ones."""
_BETWEEN = " "
"""What expat puts between a namespace and a name; neither can hold it."""


class NotXmlError(ValueError):
    """The bytes are not one XML document, or one that is not taken. The message never quotes it."""


@dataclass(slots=True)
class Element:
    """``name`` is without its namespace; ``attributes`` have the namespace before the name, after it a space."""

    name: str
    namespace: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return the text that stands directly in this element."""
        return "".join(self.texts)

    def all(self, name: str) -> list[Element]:
        """Return the children called ``name`` in this element's own namespace."""
        return [child for child in self.children if (child.name, child.namespace) == (name, self.namespace)]

    def first(self, name: str) -> Element | None:
        """Return the first of them."""
        return next(iter(self.all(name)), None)


def loads(raw: bytes) -> Element:
    """Return the root of the document ``raw``, which is read as UTF-8 whatever it says; raise NotXmlError."""
    try:
        raw.decode()  # expat takes UTF-16 with its mark whatever it is told
    except UnicodeDecodeError as error:
        raise NotXmlError(f"not UTF-8 at byte {error.start}") from None
    reader = _Reader()
    parser = expat.ParserCreate("utf-8", _BETWEEN)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        raise NotXmlError(f"{expat.ErrorString(error.code)} at line {error.lineno}") from None
    if reader.root is None:
        raise NotXmlError("no element")
    return reader.root


class _Reader:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0

    def doctype(self, *_: object) -> None:
        raise NotXmlError("a document type, which is not taken: it may hold entities")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > ELEMENTS_MAX or len(self._open) >= DEPTH_MAX:
            raise NotXmlError(f"more than {ELEMENTS_MAX} elements, or nested deeper than {DEPTH_MAX}")
        namespace, _, local = name.rpartition(_BETWEEN)
        element = Element(local, namespace, attributes)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, name: str) -> None:
        self._open.pop()

    def text(self, text: str) -> None:
        self._open[-1].texts.append(text)
