"""XML written by strangers, read with the standard library's expat: few elements, and no DTD.

Entities can only be declared in a DTD, so a text without one cannot grow (no "billion laughs")
and cannot fetch anything.
"""

from typing import NamedTuple
from xml.parsers import expat

_MAX_DEPTH = 32
_MAX_ELEMENTS = 20_000


class Element(NamedTuple):
    """An element of an XML text."""

    path: tuple[str, ...]  # names from the root to this element
    attributes: tuple[dict[str, str], ...]  # of each of them
    text: str  # between its tags, without that of the elements inside


class Xml(NamedTuple):
    """What was read of an XML text."""

    elements: list[Element]  # in the order of their ends
    fault: str = ""  # why it was not read to its end; empty if it was


class _RefusedError(ValueError):
    """A text that is not read on."""


def read_xml(content: bytes) -> Xml:
    """The elements of a text, as far as it is well formed; none from a text with a DTD."""
    names: list[str] = []
    attributes: list[dict[str, str]] = []
    texts: list[list[str]] = []
    elements: list[Element] = []

    def begin(name: str, given: dict[str, str]) -> None:
        if len(names) == _MAX_DEPTH or len(elements) == _MAX_ELEMENTS:
            raise _RefusedError("it has too many elements")
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
        raise _RefusedError("a document type is not read")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = add, refuse
    try:
        parser.Parse(content, True)
    except _RefusedError as error:
        return Xml(elements, str(error))
    except (expat.ExpatError, ValueError, LookupError):  # or an encoding that is not known
        return Xml(elements, "it is cut or damaged")
    return Xml(elements)
