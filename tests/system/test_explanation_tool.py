"""A test of explanations from the command line: killed, and with two workers."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import tiny
from imagenet_trees import GOLDFISH, SHARK, TENCH, make_flat_imagenet, save_tiny_vit
from test_two_workers import free_port

from wsss_plugins.engine import StageRecord
from wsss_plugins.structures import load_json

pytestmark = pytest.mark.slow

CONFIG = """
from wsss_plugins.classifiers import TimmClassifier
from wsss_plugins.datasets import ImageNet
from wsss_plugins.seeds import AttentionRollout, PartialLRP
from wsss_plugins.stages import PerturbationTestStage

pipeline = [
    dict(
        type=PerturbationTestStage,
        name='test',
        model={model!r},
        methods=dict(rollout=dict(type=AttentionRollout), lrp=dict(type=PartialLRP)),
        dataset=dict(type=ImageNet, data_root={root!r}),
        input_size=(32, 32),
        batch_size=2,
    )
]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Five images, one of them damaged."""
    root = make_flat_imagenet(tmp_path / 'data', [SHARK, TENCH, GOLDFISH, TENCH, SHARK])
    (root / 'val/ILSVRC2012_val_00000004.JPEG').write_text('no photo')
    model = save_tiny_vit(tmp_path / 'vit.safetensors', num_classes=1000)
    path = tmp_path / 'mine.py'
    path.write_text(CONFIG.format(model=model, root=str(root)))
    return path


def test_killed_or_with_two_workers_it_is_the_same(config, tmp_path) -> None:
    tool = tiny.TOOLS / 'run_pipeline.py'
    one, two, cut = (tmp_path / name for name in ('one', 'two', 'cut'))
    done = tiny.run_python(tool, config, '--work-dir', one)
    assert f'table: {one}/test/table.md' in done.stdout
    names = sorted(p.name for p in (one / 'test').iterdir())
    assert names == [
        *('config.json', 'failures.json', 'parts', 'record.json', 'scores.json'),
        *('table.csv', 'table.md'),
    ]
    assert load_json(one / 'test/record.json')['metrics']['failed'] == 1
    assert load_json(one / 'test/scores.json')['lrp']['target']['images'] == 4

    script = tiny.TOOLS / 'dist_train.sh'
    tiny.run('bash', script, config, 2, '--work-dir', two, PORT=free_port())
    record = StageRecord.load(two / 'test')
    assert record and record.environment['workers'] == 2

    driver = Path(__file__).with_name('die_at.py')
    command = [tool, config, '--work-dir', cut]
    tiny.run_python(driver, '*/parts/*.npz', 2, *command, code=-signal.SIGKILL)
    finished = [p for p in (cut / 'test/parts').iterdir() if p.name[0] != '.']
    assert len(finished) == 1
    tiny.run_python(*command)
    for other in (two, cut):
        tiny.assert_same_results(one, other, ['test'])
        for table in ('table.md', 'table.csv'):
            content = (other / 'test' / table).read_text()
            assert content == (one / 'test' / table).read_text()
