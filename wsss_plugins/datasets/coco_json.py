"""Reading an instances file item by item, so that its text is never in memory as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import IO, Any

CHUNK = 1 << 20
"""Characters that are read at a time."""

_BLANK = ' \t\n\r'


def load_object(file: IO[str], keep: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Reads a JSON object; only one item of its lists at a time is in memory as text.

    Reading the real training file at once would take 330 MB for the text and gigabytes
    for Python's numbers.

    Args:
        file: JSON whose top level is an object.
        keep: Maps every object below the top level to what is kept of it, as
            ``object_hook`` of :mod:`json`; it reduces each object as soon as it is
            read.

    Returns:
        The object.

    Raises:
        ValueError: The text is not a JSON object, or ends before the object does.
    """
    text = _Text(file, json.JSONDecoder(object_hook=keep))
    found: dict[str, Any] = {}
    text.expect('{')
    while (sign := text.peek()) != '}':
        if sign != '"':
            raise ValueError(f'{sign!r} where a key belongs')
        key = text.value()
        text.expect(':')
        found[key] = text.items() if text.peek() == '[' else text.value()
        text.comma('}')
    return found


class _Text:
    """A window of the text that moves on as values are taken from it."""

    def __init__(self, file: IO[str], decoder: json.JSONDecoder) -> None:
        self.file = file
        self.decoder = decoder
        self.window, self.at = '', 0

    def more(self, size: int = CHUNK) -> bool:
        """Reads on and drops what was parsed; False at the end of the file."""
        chunk = self.file.read(size)
        self.window, self.at = self.window[self.at :] + chunk, 0
        return bool(chunk)

    def peek(self) -> str:
        """The next character that is not blank."""
        while True:
            while self.at < len(self.window):
                if self.window[self.at] not in _BLANK:
                    return self.window[self.at]
                self.at += 1
            if not self.more():
                raise ValueError('it ends in the middle: the file was cut off')

    def expect(self, sign: str) -> None:
        """Takes one character."""
        if (found := self.peek()) != sign:
            raise ValueError(f'{found!r} where {sign!r} belongs')
        self.at += 1

    def comma(self, end: str) -> None:
        """Takes the comma behind a value, unless ``end`` follows."""
        if self.peek() != end:
            self.expect(',')

    def items(self) -> list[Any]:
        """Takes a list."""
        found = []
        self.expect('[')
        while self.peek() != ']':
            found.append(self.value())
            self.comma(']')
        self.expect(']')
        return found

    def value(self) -> Any:
        """Takes a value of any kind."""
        self.peek()
        size = CHUNK
        while True:
            start = self.at
            try:
                value, end = self.decoder.raw_decode(self.window, start)
            except json.JSONDecodeError as error:
                if not self.more(size):
                    raise ValueError(
                        f'{error.msg}: the file is damaged or was cut off'
                    ) from error
            else:
                # A number at the end of the window may continue after it.
                if end < len(self.window) or not self.more(size):
                    self.at += end - start
                    return value
            size *= 2  # a long value, or the rest of a broken file, in few steps
