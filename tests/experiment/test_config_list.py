"""The list of configs: what it says is read from them, and agrees with the docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from processes import run_script

from wsss_plugins.errors import ConfigError
from wsss_plugins.experiment.config_list import (
    PAPERS,
    Entry,
    find_references,
    page_of,
    read_configs,
    read_entry,
)

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs'


@cache
def entries() -> dict[str, Entry]:
    return {entry.file: entry for entry in read_configs(CONFIGS)}


def test_the_page_in_the_repository_is_what_the_configs_say() -> None:
    written = (CONFIGS / 'README.md').read_text('utf-8')
    assert written == page_of(list(entries().values())), (
        'configs/README.md is out of date: wsss list configs --write'
    )


def test_one_finds_the_config_of_a_table_at_once() -> None:
    page = (CONFIGS / 'README.md').read_text('utf-8')
    rows = [line for line in page.splitlines() if line.startswith('| eX-ViT table 6 |')]
    assert len(rows) == 1
    assert '(exvit/voc_modules_pipeline.py)' in rows[0]


def test_every_config_is_listed_with_its_data() -> None:
    files = {p.relative_to(CONFIGS).as_posix() for p in CONFIGS.rglob('*.py')}
    assert set(entries()) == {file for file in files if not file.startswith('_base_')}
    assert [entry.file for entry in entries().values() if not entry.data] == []
    kinds = {
        name: entries()[name].does for name in ('acr/voc.py', 'matrix/synthetic.py')
    }
    assert kinds == {'acr/voc.py': 'trains', 'matrix/synthetic.py': 'grid'}
    assert entries()['acr/voc_pipeline.py'].does == 'runs'
    # Its stages name no data set, but the training that they vary has one.
    voc = ('VOC12 in data/synthetic/VOC2012',)
    assert entries()['exvit/synthetic_emha_pipeline.py'].data == voc


@pytest.mark.parametrize(
    'text, expected',
    [
        ('Table 6 of eX-ViT on VOC: what each loss adds.', ['eX-ViT table 6']),
        (
            'ACR on VOC: tables 2, 3 and 10. The report\nshows figures 4 and 12.',
            [
                'ACR figure 4',
                'ACR figure 12',
                'ACR table 2',
                'ACR table 3',
                'ACR table 10',
            ],
        ),
        ('Tables 1 to 3 of ACR.', ['ACR table 1', 'ACR table 2', 'ACR table 3']),
        ('Table 3 of the ReScience paper: maps.', ['ReScience table 3']),
        ('MCTformer on VOC (ACR, table 6).', ['ACR table 6']),
        ('eX-ViT; for table 2 of ACR and figure 1.', ['ACR figure 1', 'ACR table 2']),
        ('As ACR, and table 5 of Foo and table 6.', []),
        ('Table 5 of nobody named; tags of a table, 50 photos.', []),
    ],
)
def test_find_references(text: str, expected: list[str]) -> None:
    assert [str(reference) for reference in find_references(text)] == expected


# What the pages of the papers say -----------------------------------------------------


def rows_of_a_page(paper: str) -> Iterator[tuple[str, list[str]]]:
    """The first cell of each row of the page's table, and the configs that it names."""
    page = (ROOT / PAPERS[paper]).read_text('utf-8')
    table = page.split('| of the paper |')[1].split('\n\n')[0].splitlines()[2:]
    folder = '' if paper == 'ReScience' else Path(PAPERS[paper]).stem + '/'
    config = ''
    for line in table:
        cells = [cell.strip() for cell in line.split('|')[1:-1]]
        here = cells[1] if paper == 'ReScience' else cells[2]
        config = config if here == 'the same' else here
        names = re.findall(r'`(?:configs/)?([\w/]+\.py)`', config)
        yield cells[0], [folder + n for n in names if (CONFIGS / folder / n).is_file()]


@pytest.mark.parametrize('paper', PAPERS)
def test_a_docstring_names_the_tables_that_the_page_gives_its_config(
    paper: str,
) -> None:
    missing, looked_at = [], 0
    for cell, configs in rows_of_a_page(paper):
        for reference in find_references(f'{paper}: {cell}'):
            for config in configs:
                looked_at += 1
                if reference not in entries()[config].references:
                    missing.append(f'{config}: {reference}')
    assert looked_at > 3 and missing == []


# The command --------------------------------------------------------------------------


def test_the_command_writes_the_page(tmp_path) -> None:
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'first.py').write_text(
        '"""Trains a net for table 4 of ACR | mine."""\n'
        "data = dict(type='VOC12', data_root='data/voc')\n"
    )
    command = [ROOT / 'tools/list_configs.py', folder]
    printed = run_script([*command, '--page'], tmp_path)
    written = run_script([*command, '--write'], tmp_path)
    assert printed.returncode == written.returncode == 0, written.stderr
    page = (folder / 'README.md').read_text('utf-8')
    assert (printed.stdout, written.stdout) == (page, '')
    row = (
        '| [`first.py`](first.py) | trains | Trains a net for table 4 of ACR \\| mine. '
        '| `VOC12 in data/voc` | ACR table 4 |'
    )
    assert row in page.splitlines()
    assert '| ACR table 4 | [`first.py`](first.py) |' in page.splitlines()


def test_a_config_without_a_docstring_is_refused(tmp_path) -> None:
    path = tmp_path / 'silent.py'
    path.write_text('x = 1\n')
    with pytest.raises(ConfigError, match=r'silent\.py has no docstring: say in its'):
        read_entry(path, tmp_path)


def test_an_empty_folder_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match='holds no config'):
        read_configs(tmp_path)
