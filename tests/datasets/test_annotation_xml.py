"""XML of annotations is data: entities and other files are not read."""

from __future__ import annotations

from pathlib import Path

import pytest
from trees import make_voc

from wsss_plugins.datasets import VOC12
from wsss_plugins.datasets.annotation_xml import object_names, read_annotation
from wsss_plugins.doctor import examine
from wsss_plugins.errors import DataError

LAUGHS = ''.join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
PLANTED = {
    'laughs': f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><annotation>&l9;</annotation>',
    'file': '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    '<annotation><object><name>&x;</name></object></annotation>',
    'outside': '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><annotation/>',
    'parameter': '<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/hostname"> %x;]>'
    '<annotation/>',
    'harmless': '<!DOCTYPE annotation><annotation/>',
}


@pytest.mark.parametrize('name', PLANTED)
def test_document_types_are_refused(name: str) -> None:
    with pytest.raises(DataError, match='declares the document type') as caught:
        read_annotation(PLANTED[name].encode(), 'a.xml')
    assert str(caught.value).startswith('a.xml is no readable annotation (it declares')


@pytest.mark.parametrize('text', ['', '<a>', '<a>\x00</a>', '<?xml encoding="x"?><a/>'])
def test_damaged_files_are_one_line(text: str) -> None:
    with pytest.raises(DataError, match=r'a\.xml is no readable annotation') as caught:
        read_annotation(text.encode(), 'a.xml')
    assert '\n' not in str(caught.value)


def test_names_of_objects() -> None:
    objects = '<object><name> cat </name><part><name>head</name></part></object>'
    hard = '<object><name>dog</name><difficult>1</difficult></object>'
    data = f'<?xml version="1.0"?><annotation>{objects}{hard}</annotation>'.encode()
    assert object_names(data, 'a.xml') == {'cat', 'dog'}
    assert object_names(data, 'a.xml', difficult=False) == {'cat'}


def test_data_set_and_doctor_refuse_it_as_well(tmp_path: Path) -> None:
    root = make_voc(tmp_path / 'VOC2012', {'a': ['cat'], 'b': ['dog']})
    (root / 'Annotations/b.xml').write_text(PLANTED['laughs'])
    with pytest.raises(DataError, match=r'b\.xml is no readable annotation'):
        VOC12(root, 'train')
    kinds = {finding.kind for finding in examine([root]).findings}
    assert 'xml-broken' in kinds
