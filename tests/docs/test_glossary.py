"""The glossary can be searched by eye, and knows the words of Concepts."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / 'docs'
ROWS = re.findall(
    r'^\| (.+?) \| (.+?) \|$', (DOCS / 'glossary.md').read_text('utf-8'), re.MULTILINE
)[1:]
WORDS = [word for word, _ in ROWS if word != '---']


def test_words_are_in_order_and_once() -> None:
    assert len(WORDS) > 40 and len(WORDS) == len(set(WORDS))
    assert sorted(WORDS, key=str.lower) == WORDS


def test_words_of_the_concepts_are_there() -> None:
    text = (DOCS / 'concepts.md').read_text('utf-8')
    section = text.split('## The words')[1].split('\n## ')[0]
    known = ' '.join(WORDS).lower()
    terms = re.findall(r'^\*\*([^*]+)\.\*\*', section, re.MULTILINE)
    assert len(terms) > 10
    stems = [term.split(' and ')[0].lower().rstrip('s') for term in terms]
    assert [stem for stem in stems if stem not in known] == []
