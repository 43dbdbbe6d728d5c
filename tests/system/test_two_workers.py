"""Two CPU processes: every stage, one training, one measurement, and the gradients."""

from __future__ import annotations

import gc
import os
import shutil
import socket
from pathlib import Path

import pytest
import tiny
import torch
from torch import multiprocessing

from wsss_plugins.backbones import TimmViT
from wsss_plugins.classifiers import (
    ACRClassifier,
    AFAClassifier,
    ToCoClassifier,
    WSSSClassifier,
)
from wsss_plugins.structures import ClassSample

pytestmark = pytest.mark.slow


def free_port() -> str:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def test_every_stage_of_a_pipeline(finished, data_root, tmp_path) -> None:
    """Stages that do not train give what one worker gives."""
    work_dir = Path(shutil.copytree(finished, tmp_path / 'work'))
    names = [stage['name'] for stage in tiny.stages()]
    for name in names:
        if name != 'classifier':
            shutil.rmtree(work_dir / name)
    config, *options = tiny.arguments(data_root, work_dir)
    tiny.run(
        'bash', tiny.TOOLS / 'dist_train.sh', config, 2, *options, PORT=free_port()
    )
    records = tiny.records(work_dir)
    assert list(records) == names and all(r.done for r in records.values())
    assert records['cam'].environment['workers'] == 2
    assert records['segmentor'].environment['workers'] == 2
    card = records['cam_score'].supervision
    assert card is not None and card.workers == (1, 2), 'the classifier had one'
    before_training = names[: names.index('segmentor')]
    tiny.assert_same_results(finished, work_dir, before_training)
    assert len(list((work_dir / 'prediction/labels').iterdir())) == 12


def test_training_and_measuring(data_root, tmp_path) -> None:
    small = tiny.small_options(tiny.CLASSIFIER)
    options = ['--data-root', data_root, '--cfg-options']
    options += [f'{key}={value}' for key, value in small.items()]
    train, test = (tiny.TOOLS / f'dist_{part}.sh' for part in ('train', 'test'))
    place = ['--work-dir', tmp_path]
    trained = tiny.run(
        'bash', train, tiny.CLASSIFIER, 2, *place, *options, PORT=free_port()
    )
    weights = tmp_path / 'weights.safetensors'
    assert weights.is_file() and (tmp_path / 'resume.pth').is_file()
    two = tiny.run(
        'bash', test, tiny.CLASSIFIER, weights, 2, *options, PORT=free_port()
    )
    one = tiny.run_python(tiny.TOOLS / 'test.py', tiny.CLASSIFIER, weights, *options)
    *_, numbers, card = one.stdout.splitlines()  # the first lines are of the data
    assert numbers.startswith('multilabel/mAP ')
    for other in (two, trained):
        assert other.stdout.splitlines()[-2:] == [numbers, card]


def test_what_the_user_gets_wrong_is_said_once(tmp_path) -> None:
    options = ['--data-root', tmp_path / 'nowhere', '--work-dir', tmp_path / 'work']
    script, port = tiny.TOOLS / 'dist_train.sh', free_port()
    done = tiny.run('bash', script, tiny.CONFIG, 2, *options, code=2, PORT=port)
    assert done.stderr.startswith('error: data root ')
    assert done.stderr.count('\n') == 1
    done = tiny.run('bash', script, tiny.CONFIG, code=2)
    assert done.stderr == f'usage: {script} CONFIG WORKERS [options]\n'


def make_classifier(kind: type[WSSSClassifier]) -> WSSSClassifier:
    """A model without batch norm and dropout: images do not meet in it."""
    torch.manual_seed(0)
    size = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)
    return kind(
        backbone=TimmViT(**size),
        head=dict(type='TokenHead', num_classes=5),
        **SINGLE_STAGE.get(kind, {}),
    ).double()


DECODER = dict(type='LargeFOVHead', form='toco', in_channels=24, channels=8, dilation=1)
EARLY = dict(
    decode_head=dict(DECODER, num_classes=6),
    seg_after=0,
    scales=(1.0, 0.5),
    thresholds=dict(high=0.6, low=0.3, background=0.5),
)
SINGLE_STAGE = {
    AFAClassifier: dict(EARLY, walk_after=1, blocks=(-1,), energy=1e5),
    ToCoClassifier: dict(
        EARLY,
        aux_block=0,
        crops=3,
        crop_size=16,
        contrast_head=dict(hidden=16, bottleneck=8, out=12),
        energy=1e5,
    ),
}
"""Arguments with which all losses begin within three steps, and weigh something."""


def train_steps(
    rank: int, workers: int, kind: type[WSSSClassifier], file: str, port: str
) -> None:
    """Three steps on this worker's share of a global batch of 8; writes the weights."""
    from mmengine.model import MMDistributedDataParallel
    from mmengine.optim import OptimWrapper

    model = make_classifier(kind)
    if workers > 1:
        os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        torch.distributed.init_process_group('gloo', rank=rank, world_size=workers)
        model = MMDistributedDataParallel(module=model, broadcast_buffers=False)
    torch.set_num_threads(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    wrapper = OptimWrapper(optimizer)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        images = torch.rand(8, 3, 32, 40, generator=generator, dtype=torch.float64)
        labels = torch.randint(0, 2, (8, 5), generator=generator).double()
        mine = slice(rank, None, workers)
        samples = [
            ClassSample(
                metainfo=dict(draw=int(draw), img_box=(0, 32, int(draw) % 9, 40))
            )
            for draw in torch.randint(2**31, (8,), generator=generator)[mine]
        ]
        for sample, label in zip(samples, labels[mine], strict=True):
            sample.gt_label = label
        data = dict(inputs=list(images[mine] * 255), data_samples=samples)
        # The preprocessor gives float32; a double model keeps the comparison sharp.
        bare = model.module if workers > 1 else model
        bare.data_preprocessor = ToDouble()
        model.train_step(data, wrapper)
    state = (model.module if workers > 1 else model).state_dict()
    torch.save(state, f'{file}.{rank}')
    if workers > 1:
        del model, bare, wrapper, optimizer  # torch may hang when the group goes first
        gc.collect()
        torch.distributed.destroy_process_group()


class ToDouble(torch.nn.Module):
    """Stacks and scales images without leaving float64."""

    mean, std = 0.0, 255.0

    def forward(self, data: dict, training: bool = False) -> dict:
        return dict(data, inputs=torch.stack(data['inputs']) / 255)


@pytest.mark.parametrize(
    'kind', [WSSSClassifier, ACRClassifier, AFAClassifier, ToCoClassifier]
)
def test_gradients_are_averaged(kind, tmp_path) -> None:
    """Two workers on half the batch each do what one worker does on all of it."""
    two, one = str(tmp_path / 'two'), str(tmp_path / 'one')
    train_steps(0, 1, kind, one, '')
    multiprocessing.spawn(train_steps, (2, kind, two, free_port()), nprocs=2)
    expected = torch.load(f'{one}.0', weights_only=True)
    states = [torch.load(f'{two}.{rank}', weights_only=True) for rank in (0, 1)]
    first = make_classifier(kind).state_dict()
    for key, value in expected.items():
        assert torch.equal(states[0][key], states[1][key]), key
        torch.testing.assert_close(states[0][key], value, rtol=1e-9, atol=1e-10)
    moved = [k for k in expected if not torch.equal(expected[k], first[k])]
    assert len(moved) > 10, 'the steps changed the weights'
