"""``prepare_data.py labels`` as a user runs it, and what the folder's pipeline says of it."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import tiny
from test_own_data import arguments
from trees import save_image

SIZE = (40, 60)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Ten photos and the JSON of COCO beside them; two show nothing."""
    images, annotations = [], []
    for i in range(10):
        save_image(tmp_path / f'photos/p{i}.jpg', i, SIZE)
        images.append(dict(id=i, file_name=f'p{i}.jpg', height=40, width=60))
        if i < 8:
            corners = [[5, 5, 25 + i, 5, 25 + i, 30, 5, 30]]
            annotations.append(
                dict(id=i, image_id=i, category_id=1 + i % 2, segmentation=corners)
            )
    categories = [dict(id=1, name='nest'), dict(id=2, name='bird')]
    content = dict(images=images, annotations=annotations, categories=categories)
    (tmp_path / 'photos/labels.json').write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a tool in this process; what it prints."""

    def call(tool: str, *words: object) -> str:
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, words)])
        capsys.readouterr()
        runpy.run_path(str(tiny.TOOLS / tool), run_name='__main__')
        return capsys.readouterr().out

    return call


@pytest.mark.slow
def test_the_command_and_a_dry_run_of_what_it_made(labelled: Path, run) -> None:
    out = labelled / 'my_photos'
    command = ['labels', 'coco', labelled / 'photos/labels.json', '--out', out]
    assert run('prepare_data.py', *command).splitlines() == [
        f'{out}: complete',
        '  photos                        10',
        '  photos without tags            2',
        '  masks                         10',
        f'{out}: 10 photos, 2 without tags; photos by class: nest 4, bird 4',
        f'{out} with masks: 10 photos, 2 without tags, 10 with masks; photos by class: '
        'nest 4, bird 4',
    ]
    words = arguments('pipeline_with_masks', out, labelled / 'work', '--dry-run')
    words.remove('--dry-run')
    said = run('run_pipeline.py', words[0], '--dry-run', *words[1:])
    assert 'masks; photos by class: nest' in said and ' new ' in said
    assert 'warning' not in said


def test_mistakes_are_one_line(labelled: Path, refused) -> None:
    command = ['labels', 'coco', labelled / 'photos/labels.json']
    command += ['--out', labelled / 'my_photos']
    (labelled / 'photos/p3.jpg').unlink()
    message = refused('prepare_data.py', *command)
    assert message == (
        f"the photo 'p3.jpg' of {labelled / 'photos/labels.json'}, image 3 is not in "
        f'{labelled / "photos"} (and 0 more of 10): give the folder of the photos with '
        '--images, or leave such annotations out with --skip-missing'
    )
    message = refused('prepare_data.py', *command, '--images', labelled / 'no')
    assert message.endswith('no is no folder: give that of the photos with --images')
    assert not (labelled / 'my_photos').exists()
