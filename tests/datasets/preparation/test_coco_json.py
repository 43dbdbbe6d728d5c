"""The reader of instances files against json.load."""

from __future__ import annotations

import io
import json
import random
import tracemalloc

import pytest

from wsss_plugins.datasets import coco_json
from wsss_plugins.datasets.coco_json import load_object


def some_value(rng: random.Random, depth: int):
    kind = rng.random()
    if depth == 0 or kind < 0.5:
        return rng.choice([1, -2.5e-3, 12345678, True, None, 'a"b\\', 'é€]}', ''])
    if kind < 0.75:
        return [some_value(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    return {str(i): some_value(rng, depth - 1) for i in range(rng.randint(0, 4))}


@pytest.mark.parametrize('chunk', [1, 2, 3, 7, 50, 1 << 20])
def test_as_json_load_whatever_the_size_of_the_pieces(monkeypatch, chunk) -> None:
    monkeypatch.setattr(coco_json, 'CHUNK', chunk)
    rng = random.Random(chunk)
    for _ in range(150):
        expected = {str(i): some_value(rng, 3) for i in range(rng.randint(0, 4))}
        indent, plain = rng.choice([None, 1]), rng.random() < 0.5
        text = json.dumps(expected, indent=indent, ensure_ascii=plain)
        assert load_object(io.StringIO(text), lambda item: item) == expected
        with pytest.raises(ValueError):
            cut = text[: rng.randint(0, len(text) - 1)]
            load_object(io.StringIO(cut), lambda item: item)


def test_keep_sees_every_object_below_the_top() -> None:
    text = '{"a": [{"id": 1, "x": {"y": 2}}], "info": {"year": 2014}}'
    found = load_object(io.StringIO(text), lambda item: sorted(item))
    assert found == dict(a=[['id', 'x']], info=['year'])


@pytest.mark.parametrize(
    'text', ['[1]', '3', '{1: 2}', '{"a" 1}', '{"a": [1 2]}', '{"a": x}', '']
)
def test_no_such_json(text: str) -> None:
    with pytest.raises(ValueError):
        load_object(io.StringIO(text), lambda item: item)


def test_memory_does_not_grow_with_the_text() -> None:
    item = json.dumps(dict(id=1, caption='x' * 10000))
    text = '{"annotations": [' + ', '.join([item] * 2000) + ']}'

    def peak(read) -> int:
        file = io.StringIO(text)
        tracemalloc.start()
        read(file)
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def slim(item: dict) -> int:
        return item.get('id', 0)

    assert len(text) > 20e6
    assert peak(lambda file: load_object(file, slim)) < 6e6
    assert peak(lambda file: json.load(file, object_hook=slim)) > 20e6
