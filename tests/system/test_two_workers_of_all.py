"""Two CPU processes train every model as one does."""

from __future__ import annotations

import gc
import os
import socket
from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import multiprocessing
from training_models import COUPLED, KINDS, batch, build, part_of

from wsss_plugins.engine.speed import Speed

pytestmark = pytest.mark.slow

UNCOUPLED = [name for name in KINDS if name not in COUPLED]


def free_port() -> str:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def train_steps(rank: int, workers: int, folder: Path, port: str) -> None:
    """Three steps of every model on this worker's share of 8 images; writes the weights."""
    torch.set_num_threads(1)
    if workers > 1:
        os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        torch.distributed.init_process_group('gloo', rank=rank, world_size=workers)
    for name in UNCOUPLED:
        state = steps_of(name, slice(rank, None, workers), Speed())
        torch.save(state, folder / f'{name}.{workers}.{rank}')
    in_pieces = steps_of('deeplab', slice(rank, None, workers), Speed(accumulate=3))
    torch.save(in_pieces, folder / f'in pieces.{workers}.{rank}')
    if workers > 1:
        gc.collect()
        torch.distributed.destroy_process_group()


def steps_of(name: str, mine: slice, speed: Speed) -> dict[str, torch.Tensor]:
    """The weights of one model after its steps."""
    bare = build(name)
    speed.prepare(bare)
    model = bare
    if torch.distributed.is_initialized():
        unused = dict(find_unused_parameters=True)
        model = MMDistributedDataParallel(
            module=bare, broadcast_buffers=False, **unused
        )
    speed.in_pieces(model)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    for step in range(3):
        data = part_of(batch(bare, 8, seed=step), mine)
        model.train_step(data, wrapper)
    return bare.state_dict()


@pytest.fixture(scope='module')
def both(tmp_path_factory) -> Path:
    """The weights of one worker and of two, of every model."""
    folder = tmp_path_factory.mktemp('weights')
    train_steps(0, 1, folder, '')
    multiprocessing.spawn(train_steps, (2, folder, free_port()), nprocs=2)
    return folder


@pytest.mark.parametrize('name', [*UNCOUPLED, 'in pieces'])
def test_gradients_are_averaged(name, both) -> None:
    """Two workers on half the batch each do what one worker does on all of it."""
    expected, *states = (
        torch.load(both / f'{name}.{end}', weights_only=True)
        for end in ('1.0', '2.0', '2.1')
    )
    first = build('deeplab' if name == 'in pieces' else name).state_dict()
    for key, value in expected.items():
        assert torch.equal(states[0][key], states[1][key]), key
        torch.testing.assert_close(states[0][key], value, rtol=1e-9, atol=1e-10)
    moved = [k for k in expected if not torch.equal(expected[k], first[k])]
    assert len(moved) > 4, 'the steps changed the weights'
