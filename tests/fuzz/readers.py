"""What files of labels say, read a second time, and what commands say of them."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import Bench
from doors import Door

Tags = dict[str, set[str]]
"""The classes that each photo shows, by its name."""


def counts_said(bench: Bench, door: Door, dataset: Mapping[str, Any]) -> Counter | None:
    """How many photos show each class, as ``--dry-run`` says; None where it refuses."""
    content = bench.config()
    content['datasets']['images'] = dict(dataset)
    content['pipeline'] = {k: content['pipeline'][k] for k in ('maps', 'pseudo')}
    config = bench.write(content)
    words = ('--work-dir', bench.work, '--dry-run')
    ended = door('run_pipeline', config, *words, kept=bench.place)
    if ended.refused:
        assert str(bench.place) in ended.line
        return None
    said = re.search(r'photos by class: (.*)', ended.said)
    assert said, ended.said
    listed = re.sub(r' and [\d,]+ more$', '', said[1]).split(', ')
    found = (word.rsplit(' ', 1) for word in listed if word.strip())
    return Counter({name: int(number) for name, number in found if number != '0'})


def counted(tags: Tags) -> Counter:
    return Counter(tag for shown in tags.values() for tag in shown)


def tags_of_table(path: Path) -> Tags:
    """A reader of tables with a column of tags, or with a column for each class."""
    data = path.read_bytes()
    try:
        text = data.decode(
            'utf-16' if data[:2] in (b'\xff\xfe', b'\xfe\xff') else 'utf-8-sig'
        )
    except UnicodeDecodeError:
        text = data.decode('cp1252')
    first = next(line for line in text.splitlines() if line.strip())
    divider = max(',;\t', key=first.count)
    rows = csv.reader(io.StringIO(text, newline=''), delimiter=divider)
    head, *lines = (row for row in rows if any(map(str.strip, row)))
    names = [' '.join(name.split()).casefold() for name in head]
    found: Tags = {}
    for line in lines:
        cells = dict(zip(names, line, strict=False))
        if 'tags' in names:
            tags = {t.strip() for t in re.split('[;|,]', cells.get('tags', ''))} - {''}
        else:
            tags = {
                n
                for n in names
                if n != 'file' and cells.get(n, '').strip() in ('1', 'x')
            }
        key = Path(cells['file'].strip()).stem.casefold()
        found.setdefault(key, set()).update(' '.join(t.split()) for t in tags)
    return found


def tags_of_xml(path: Path) -> set[str]:
    names = (item.findtext('name') for item in ElementTree.parse(path).iter('object'))
    return {name.strip() for name in names if name}


def tags_of_coco(path: Path) -> Tags:
    content = json.loads(path.read_text())
    names = {1: 'person', 2: 'bicycle', 90: 'toothbrush'}  # COCO's own
    names |= {item['id']: item['name'] for item in content['categories']}
    files = {item['id']: item['file_name'] for item in content['images']}
    found: Tags = {name: set() for name in files.values()}
    for item in content['annotations']:
        found[files[item['image_id']]].add(names[item['category_id']])
    return found


def tags_of_others(folder: Path) -> Tags:
    """The names in the one annotation of a folder."""
    if (folder / 'a.json').is_file():
        shapes = json.loads((folder / 'a.json').read_text())['shapes']
        return {'a': {' '.join(shape['label'].split()) for shape in shapes}}
    if (folder / 'a.xml').is_file():
        return {'a': {' '.join(name.split()) for name in tags_of_xml(folder / 'a.xml')}}
    names = (folder / 'classes.txt').read_text('utf-8-sig').split('\n')
    lines = (folder / 'a.txt').read_text('utf-8-sig').splitlines()
    return {
        'a': {names[int(line.split()[0])].strip() for line in lines if line.strip()}
    }
