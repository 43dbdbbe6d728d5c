"""Reads the XML annotations of Pascal VOC, which may come from anybody."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from wsss_plugins.errors import DataError


class _WithoutDoctype(ElementTree.TreeBuilder):
    """Builds a tree; a document type, which could define entities, is an error."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Refuses the declaration before anything that it defines is read.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"it declares the document type '{name}', which could define entities"
        )


def read_annotation(data: bytes, where: str) -> ElementTree.Element:
    """Reads an annotation in XML.

    A document type is refused: its entities can name other files and addresses, or grow
    to gigabytes, and annotations need none.

    Args:
        data: Content of the file.
        where: Its place, for the message.

    Returns:
        The outermost element.

    Raises:
        DataError: The file is damaged or declares a document type.
    """
    parser = ElementTree.XMLParser(target=_WithoutDoctype())
    try:
        return ElementTree.fromstring(data, parser)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        reason = ' '.join(str(error).split())
        raise DataError(
            f'{where} is no readable annotation ({reason}): replace it'
        ) from error


def object_names(data: bytes, where: str, difficult: bool = True) -> set[str]:
    """Names of the objects in an annotation.

    Args:
        data: Content of the XML file.
        where: Its place, for the message.
        difficult: Whether objects that are marked as difficult count too.

    Raises:
        DataError: The file is damaged or declares a document type.
    """
    return {
        item.findtext('name', '').strip()
        for item in read_annotation(data, where).iterfind('object')
        if difficult or item.findtext('difficult', '0').strip() != '1'
    }
