"""XML written by strangers, read with the standard library's expat: bounded, without a DTD.

Entities can only be declared in a DTD, so a text without one cannot grow (no "billion laughs")
and cannot fetch anything.
"""

from typing import NamedTuple
from xml.parsers import expat

MAX_XML_BYTES = 1 << 20
_MAX_DEPTH = 32
_MAX_ELEMENTS = 20_000


class Element(NamedTuple):
    """An element of an XML text."""

    path: tuple[str, ...]  # names from the root to this element
    attributes: tuple[dict[str, str], ...]  # of each of them
    text: str  # between its tags, without that of the elements inside


def read_xml(content: bytes) -> list[Element]:
    """The elements of a text, in the order of their ends, as far as it is well formed.

    Nothing from a text with a DTD, or longer than MAX_XML_BYTES.
    """
    names: list[str] = []
    attributes: list[dict[str, str]] = []
    texts: list[list[str]] = []
    elements: list[Element] = []

    def begin(name: str, given: dict[str, str]) -> None:
        if len(names) == _MAX_DEPTH or len(elements) == _MAX_ELEMENTS:
            raise ValueError("it has too many elements")
        names.append(name)
        attributes.append(given)
        texts.append([])

    def end(_: str) -> None:
        elements.append(Element(tuple(names), tuple(attributes), "".join(texts.pop()).strip()))
        names.pop()
        attributes.pop()

    def add(text: str) -> None:
        if texts:
            texts[-1].append(text)

    def refuse(*_: object) -> None:
        raise ValueError("a document type is not read")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = add, refuse
    if len(content) > MAX_XML_BYTES:
        return []
    try:
        parser.Parse(content, True)
    except expat.ExpatError:
        pass
    except (ValueError, LookupError):  # of the handlers, or an encoding that Python does not know
        return []
    return elements
