"""Tables and annotations with anything wrong in them, through the commands that read them.

Where a command accepts a spoilt file, the tags that it tells are those that a second, simple
reader finds in the file.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from bench import Bench
from doors import Door
from readers import counted, counts_said, tags_of_table, tags_of_xml
from spoiling import BYTES, FILES, cases, rng_of, rounds
from trees import make_folder

ROWS = [('a.png', 'bird'), ('b.png', 'bird;nest'), ('c.png', ''), ('d.png', 'nest')]


# Tables of tags ------------------------------------------------------------------------


@pytest.fixture
def table(bench: Bench) -> Path:
    return make_folder(bench.place / 'mine', ROWS, 'photos') / 'photos.csv'


def said_of_table(bench: Bench, door: Door, table: Path) -> Counter | None:
    images = dict(type='FolderWSSS', data_root=str(table.parent), split='all')
    return counts_said(bench, door, images)


@pytest.mark.parametrize(
    ('spoil', 'number'),
    cases([*rounds(BYTES), *((k, 0) for k in FILES[:-1])]),
)
def test_a_spoilt_table(bench: Bench, door: Door, table: Path, spoil, number) -> None:
    spoil(table, rng_of('table', spoil.__name__, number))
    said = said_of_table(bench, door, table)
    assert said is None or said == counted(tags_of_table(table))


HEAD = b'file,tags\n'
TABLES = {
    'no head': b'a.png,bird\n',
    'a head alone': HEAD,
    'two columns of a name': b'file,tags,tags\na.png,bird,nest\n',
    'too many cells': HEAD + b'a.png,bird,nest\n',
    'no file': HEAD + b',bird\n',
    'outside': HEAD + b'../a.png,bird\n',
    'absolute': HEAD + b'/etc/passwd,bird\n',
    'a drive': HEAD + b'C:\\a.png,bird\n',
    'background': HEAD + b'a.png,background\n',
    'none': HEAD + b'a.png,None\n',
    'brackets': HEAD + b'a.png,"[\'bird\']"\n',
    'twins': HEAD + b'a.png,bird\nb.png,Bird\n',
    'an invisible letter': HEAD + 'a.png,bi\u200brd\n'.encode(),
    'a control letter': HEAD + b'a.png,bi\x1b[2Jrd\n',
    'an open quotation mark': HEAD + b'a.png,"bird\nb.png,nest\n',
    'a huge cell': HEAD + b'a.png,' + b'x' * 200_000 + b'\n',
    'nulls': HEAD + b'a.png,bi\0rd\n',
    'half of utf-16': ('file,tags\na.png,bird\n'.encode('utf-16'))[:-1],
    'a mark alone': b'\xff\xfe',
    'a divider that quotes': b'sep="\nfile"tags\na.png"bird\n',
    'a divider that ends lines': b'sep=\r\r\nfile\rtags\n',
    'a word that is no yes': b'file,bird\na.png,maybe\n',
    'a number for a class': b'file,bird\na.png,2\n',
    'a class of no name': b'file,\na.png,1\n',
    'too many classes': b'file,'
    + b','.join(b'c%d' % i for i in range(300))
    + b'\na.png,1\n',
}
GOOD = {
    'utf-16': 'file,tags\na.png,bird\n'.encode('utf-16'),
    'a mark': b'\xef\xbb\xbffile,tags\na.png,bird\n',
    'ansi': 'file;tags\na.png;V\xf6gel\n'.encode('cp1252'),
    'tabs': b'file\ttags\na.png\tbird,nest\n',
    'other letters': b'FILE,Tags\nA.PNG,bird\n',
    'ends of lines': b'file,tags\r\na.png,bird\r\rb.png,nest\r',
    'twice the photo': HEAD + b'a.png,bird\na.png,nest\n',
    'columns': b'file,bird,nest\na.png,1,0\nb.png,x,\n',
    'a formula': HEAD + b'a.png,=1+1\n',
    'empty lines': b'\n\nfile,tags\n\na.png,bird\n,\n',
}


@pytest.mark.parametrize('kind', cases([(k,) for k in TABLES], quick=('a_huge_cell',)))
def test_a_wrong_table(bench: Bench, door: Door, table: Path, kind: str) -> None:
    table.write_bytes(TABLES[kind])
    assert said_of_table(bench, door, table) is None


@pytest.mark.parametrize('kind', cases([(kind,) for kind in GOOD]))
def test_a_strange_table(bench: Bench, door: Door, table: Path, kind: str) -> None:
    table.write_bytes(GOOD[kind])
    assert said_of_table(bench, door, table) == counted(tags_of_table(table))


# Annotations of VOC --------------------------------------------------------------------


def said_of_voc(bench: Bench, door: Door) -> None:
    said = counts_said(bench, door, bench.config()['datasets']['images'])
    folder = bench.data / 'Annotations'
    if said is not None:
        assert said == counted({p.stem: tags_of_xml(p) for p in folder.glob('?.xml')})


@pytest.mark.parametrize(
    ('spoil', 'number'),
    cases([*rounds(BYTES), *((k, 0) for k in FILES)]),
)
def test_a_spoilt_annotation(bench: Bench, door: Door, spoil, number) -> None:
    path = bench.data / 'Annotations/c.xml'
    spoil(path, rng_of('xml', spoil.__name__, number))
    said_of_voc(bench, door)


LAUGHS = '<!DOCTYPE a [<!ENTITY b "{}">]><annotation><object><name>&b;</name></object></annotation>'
XML = {
    'an entity': LAUGHS.format('cat'),
    'a file in an entity': LAUGHS.replace('"{}"', 'SYSTEM "file:///etc/passwd"'),
    'laughs': '<!DOCTYPE a [' + ''.join(
        f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9)
    ) + '<!ENTITY e0 "ha">]><annotation>&e9;</annotation>',
    'deep': '<a>' * 100_000,
    'another encoding': '<?xml version="1.0" encoding="klingon"?><annotation/>',
    'utf-7': '<?xml version="1.0" encoding="utf-7"?><annotation/>',
    'an unknown class': '<annotation><object><name>cow</name></object></annotation>',
    'no name': '<annotation><object/></annotation>',
}  # fmt: skip


@pytest.mark.parametrize('kind', cases([(kind,) for kind in XML], quick=('laughs',)))
def test_a_wrong_annotation(bench: Bench, door: Door, kind: str) -> None:
    (bench.data / 'Annotations/c.xml').write_text(XML[kind])
    assert counts_said(bench, door, bench.config()['datasets']['images']) is None
