#!/usr/bin/env python
"""What training the papers' networks at full scale would cost: an estimate, no measurement.

    python benchmarks/full_scale.py

Operations of one forward pass are counted on tensors without values; a training step costs
three of them for each view that is learnt from and one for each other view. Memory is what
the forward pass keeps for the backward one, for a whole batch, and four copies of the
weights. Hours are those operations at a sustained rate, without data loading.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VOC, COCO = 10_582, 82_081


@dataclass(frozen=True)
class Training:
    """A training config, its input side, and how often it sees how many images."""

    config: str
    side: int
    images: int
    learnt_views: int = 1
    other_views: int = 0


TRAININGS = (
    Training('acr/voc.py', 384, VOC, learnt_views=2),
    Training('acr/coco.py', 384, COCO, learnt_views=2),
    Training('exvit/voc.py', 384, VOC, other_views=1),
    Training('exvit/coco.py', 384, COCO, other_views=1),
    Training('psa/voc.py', 448, VOC),
    Training('psa/voc_affinity.py', 448, VOC),
    Training('psa/voc_affinity_resnet38.py', 448, VOC),
    Training('psa/coco_affinity_resnet38.py', 448, COCO),
    Training('deeplabv2/voc_r101.py', 321, VOC),
    Training('deeplabv2/voc_resnet38.py', 321, VOC),
    Training('deeplabv2/voc_vgg16.py', 321, VOC),
    Training('deeplabv2/coco_r101.py', 321, COCO),
    Training('deeplabv2/coco_resnet38.py', 321, COCO),
    Training('deeplabv2/coco_vgg16.py', 321, COCO),
)


@dataclass(frozen=True)
class Cost:
    """Of one training: FLOP of a forward pass of an image, bytes kept, weights, steps."""

    flop: float
    kept: float
    weights: float
    batch: int
    epochs: int


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument(
        '--tflops', type=float, default=10.0, help='sustained, of one GPU'
    )
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    print(
        '| training | GFLOP, forward, an image | epochs x images | batch | GB | '
        'hours, 1 GPU | hours, 4 GPUs |\n|---|---|---|---|---|---|---|'
    )
    for training in TRAININGS:
        print(row(training, cost_of(training), args.tflops))


def row(training: Training, cost: Cost, tflops: float) -> str:
    """A line of the table."""
    views = 3 * training.learnt_views + training.other_views
    total = cost.flop * views * training.images * cost.epochs
    hours = total / (tflops * 1e12) / 3600
    memory = cost.kept * cost.batch * training.learnt_views + 4 * cost.weights
    return (
        f'| `{training.config}` | {cost.flop / 1e9:.0f} | {cost.epochs} x '
        f'{training.images:,} | {cost.batch} | {memory / 1e9:.0f} | {hours:.1f} | '
        f'{hours / 4:.1f} |'
    )


def cost_of(training: Training) -> Cost:
    """Builds the model of a config without its weights and counts."""
    import torch
    from mmengine.model import BaseModel
    from mmengine.registry import init_default_scope
    from torch._subclasses import FakeTensorMode
    from torch.autograd.graph import saved_tensors_hooks
    from torch.utils.flop_counter import FlopCounterMode

    from wsss_plugins.config import load_config, set_everywhere
    from wsss_plugins.registry import MODELS, SCOPE, build_as

    init_default_scope(SCOPE)
    cfg = load_config(ROOT / 'configs' / training.config)
    set_everywhere(cfg.model, 'pretrained', False)
    model = build_as(MODELS, cfg.model, BaseModel).train()
    seen: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            seen[id(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
            held.append(tensor)
        return tensor

    held: list[torch.Tensor] = []
    counter = FlopCounterMode(display=False)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake, counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        images = torch.zeros(1, 3, training.side, training.side)
        output = model(images, mode='tensor')
    del output
    return Cost(
        flop=counter.get_total_flops(),
        kept=sum(seen.values()),
        weights=4 * sum(p.numel() for p in model.parameters()),
        batch=cfg.train_dataloader.batch_size,
        epochs=cfg.train_cfg.max_epochs,
    )


if __name__ == '__main__':
    main()
