"""Doing stages of a matrix again, without any training: a stage's run writes its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from trees import make_voc

from wsss_plugins.errors import ConfigError
from wsss_plugins.experiment import Pipeline
from wsss_plugins.experiment.matrix import Matrix, MatrixRun
from wsss_plugins.experiment.step import Found, Step

RUNS: list[tuple[int, str]] = []
VIT = dict(
    type='TimmViT', img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2
)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Makes the runs of a matrix of one classifier, two heads and two random seeds."""
    root = make_voc(tmp_path / 'voc', dict(a=['cat'], b=['dog', 'cat']))
    images = dict(type='VOC12', data_root=str(root), split='train')
    head = dict(type='TokenHead', num_classes=20)
    training = dict(
        model=dict(type='WSSSClassifier', backbone=VIT, head=head),
        train_dataloader=dict(
            batch_size=2, sampler=dict(type='DefaultSampler'), dataset=images
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
    )
    (tmp_path / 'mine.py').touch()

    def make(broken: str | None = None, **options: Any) -> MatrixRun:
        def run(self: Pipeline, step: Step, found: Found, work_dir: Path) -> None:
            if step.stage.name == broken:
                raise KeyboardInterrupt
            RUNS.append((self.seed, step.stage.name))
            record = found.begin(step.stage, {})
            record.done = True
            record.save(work_dir / step.stage.name)

        monkeypatch.setattr(Pipeline, '_run', run)
        content = dict(
            classifiers=dict(vit=dict(config=training)),
            heads=dict(cam=dict(type='CAM'), rollout=dict(type='AttentionRollout')),
            refiners=dict(none=[dict(type='ConstantBackground')]),
            images=images,
            masks=dict(images, label_maps='SegmentationClass', test_mode=True),
            seeds=[0, 1],
            refine=dict(threshold=0.5),
        )
        matrix = Matrix.of(Config(dict(matrix=content)))
        return MatrixRun(
            matrix, str(tmp_path / 'mine.py'), tmp_path / 'work', **options
        )

    def ran(matrix: MatrixRun) -> list[tuple[int, str]]:
        RUNS.clear()
        for seed in matrix.seeds:
            matrix.run(seed)
        return list(RUNS)

    make.ran = ran
    return make


OF_CAM = [
    'vit__cam',
    'vit__cam__best_threshold',
    'vit__cam__none',
    'vit__cam__none__score',
]


def test_a_stage_is_done_again_in_every_seed(runs) -> None:
    assert len(runs.ran(runs())) == 2 * 9 and runs.ran(runs()) == []
    redo = runs(redo=['vit__cam'])
    found = redo.examine(1)
    assert sorted(n for n, f in found.items() if f.state != 'done') == OF_CAM
    assert found['vit__cam'].why == ('--redo',)
    expected = [(seed, name) for seed in (0, 1) for name in OF_CAM]
    assert sorted(runs.ran(redo)) == expected
    assert set(redo.states(0).values()) == {'done'}, 'its table then has all numbers'
    assert runs.ran(runs()) == []


def test_one_that_was_killed_goes_on(runs) -> None:
    runs.ran(runs())
    with pytest.raises(KeyboardInterrupt):
        runs.ran(runs(broken='vit__cam__none', redo=['vit__cam']))
    first = list(RUNS)
    assert (0, 'vit__cam') in first and (1, 'vit__cam') not in first
    assert len(first + runs.ran(runs(redo=['vit__cam']))) == 2 * len(OF_CAM)


def test_an_unknown_stage_is_refused(runs) -> None:
    with pytest.raises(ConfigError, match=r"--redo: no stage 'vit_cam': did you mean"):
        runs(redo=['vit_cam'])
