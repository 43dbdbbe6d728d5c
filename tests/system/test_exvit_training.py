"""eX-ViT training: killed and resumed, and on two CPU processes, it is one training."""

from __future__ import annotations

import gc
import os
import signal
import socket
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import multiprocessing

from wsss_plugins.backbones import ExViT
from wsss_plugins.classifiers import ExViTClassifier
from wsss_plugins.structures import ClassSample

pytestmark = pytest.mark.slow

CONFIG = tiny.ROOT / 'configs/exvit/synthetic.py'


def command(data_root: Path, work_dir: Path, **options: object) -> list[str]:
    """Arguments of the tools that train the repository's config in seconds."""
    small = tiny.small_options(CONFIG) | {
        'model.backbone.fuse_blocks': 2, 'model.backbone.scale': 'tokens',
        'model.head.channels': 12, **options
    }  # fmt: skip
    return [
        str(CONFIG), '--data-root', str(data_root), '--work-dir', str(work_dir),
        '--cfg-options', *(f'{key}={value}' for key, value in small.items()),
    ]  # fmt: skip


def weights(work_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(work_dir / 'weights.safetensors')


@pytest.fixture(scope='module')
def trained(data_root, tmp_path_factory) -> Path:
    """The work dir of a training of one process that nothing disturbed."""
    work_dir = tmp_path_factory.mktemp('exvit') / 'work'
    arguments = command(data_root, work_dir)
    done = tiny.run_python(tiny.TOOLS / 'train.py', *arguments)
    assert '\nmultilabel/mAP ' in done.stdout
    assert 'is skipped since' not in done.stderr, 'no word of the second branch'
    return work_dir


def test_killed_and_resumed_bit_for_bit(data_root, trained, tmp_path) -> None:
    """The second branch included, whose momentum follows from the step."""
    arguments = command(data_root, tmp_path)
    driver = [Path(__file__).with_name('die_at.py'), '*/resume.pth', 2]
    tool = tiny.TOOLS / 'train.py'
    tiny.run_python(*driver, tool, *arguments, code=-signal.SIGKILL)
    assert not (tmp_path / 'weights.safetensors').exists()
    tiny.run_python(tool, *arguments)
    one, two = weights(trained), weights(tmp_path)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    copies = [key for key in one if key.startswith('momentum.backbone.')]
    assert len(copies) > 30
    lag = [not torch.equal(one[k], one[k.removeprefix('momentum.')]) for k in copies]
    assert sum(lag) > 30, 'the second branch lags behind the first'


def free_port() -> str:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def test_two_processes_train_as_one(data_root, trained, tmp_path) -> None:
    """Half the batch each: the same global batches, augmented alike."""
    halved = command(data_root, tmp_path)
    script = tiny.TOOLS / 'dist_train.sh'
    config, *options = halved
    tiny.run('bash', script, config, 2, *options, PORT=free_port())
    one, two = weights(trained), weights(tmp_path)
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-3, atol=2e-5, msg=key)


def make_classifier() -> ExViTClassifier:
    torch.manual_seed(0)
    size = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2)
    head = dict(type='AttributeHead', num_classes=5, channels=12, attributes=3)
    return ExViTClassifier(backbone=ExViT(**size), head=head).double()


def train_steps(rank: int, workers: int, file: str, port: str) -> None:
    """Four steps on this worker's share of a global batch of 8; writes the weights."""
    from mmengine.model import MMDistributedDataParallel
    from mmengine.optim import OptimWrapper

    model = bare = make_classifier()
    bare.data_preprocessor = Stack()
    if workers > 1:
        os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        torch.distributed.init_process_group('gloo', rank=rank, world_size=workers)
        model = MMDistributedDataParallel(
            module=bare, broadcast_buffers=False, find_unused_parameters=False
        )
    torch.set_num_threads(1)
    wrapper = OptimWrapper(torch.optim.SGD(bare.parameters(), lr=0.5, momentum=0.9))
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        images = torch.randn(8, 2, 3, 24, 40, generator=generator, dtype=torch.float64)
        labels = torch.randint(0, 2, (8, 5), generator=generator).double()
        mine = slice(rank, None, workers)
        samples = [ClassSample() for _ in labels[mine]]
        for sample, label in zip(samples, labels[mine], strict=True):
            sample.gt_label = label
        data = dict(inputs=list(images[mine]), data_samples=samples)
        model.train_step(data, wrapper)
        bare.follow(0.9)
    torch.save(bare.state_dict(), f'{file}.{rank}')
    if workers > 1:
        del model, bare, wrapper  # torch may hang when the group goes first
        gc.collect()
        torch.distributed.destroy_process_group()


class Stack(torch.nn.Module):
    """Stacks pairs of views without leaving float64."""

    def forward(self, data: dict, training: bool = False) -> dict:
        return dict(data, inputs=torch.stack(data['inputs']))


def test_gradients_are_averaged(tmp_path) -> None:
    """In float64, where nothing but the order of sums differs."""
    two, one = str(tmp_path / 'two'), str(tmp_path / 'one')
    train_steps(0, 1, one, '')
    multiprocessing.spawn(train_steps, (2, two, free_port()), nprocs=2)
    expected = torch.load(f'{one}.0', weights_only=True)
    states = [torch.load(f'{two}.{rank}', weights_only=True) for rank in (0, 1)]
    first = make_classifier().state_dict()
    for key, value in expected.items():
        assert torch.equal(states[0][key], states[1][key]), key
        torch.testing.assert_close(states[0][key], value, rtol=1e-8, atol=1e-10)
    moved = [k for k in expected if not torch.equal(expected[k], first[k])]
    assert sum(key.startswith('momentum.') for key in moved) > 30
