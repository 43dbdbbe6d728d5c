"""What each switch of ``speed`` costs and saves: seconds of a step, peak memory, equality.

Run from the project root: ``python benchmarks/training_switches.py [--device cuda]``.

Every row is a model with the same weights and the same batch. A step is forward, backward and
SGD with momentum; the median of ``--repeats`` steps after one that is not counted (of a compiled
model, the one that compiles). The peak is memory above that before the step: gradients and
activations. The gap is the largest difference of a gradient of the first step to that of the plain
training, relative to the largest gradient. What is refused is printed with the reason.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from measuring import (
    measured_args,
    peak_megabytes,
    print_about,
    print_table,
    save_report,
    seconds,
)
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from wsss_plugins.classifiers import ACRClassifier, WSSSClassifier
from wsss_plugins.engine.speed import Speed
from wsss_plugins.errors import UserError
from wsss_plugins.registry import SCOPE
from wsss_plugins.structures import ClassSample

CLASSES = 20
TOKEN = dict(type='TokenHead', num_classes=CLASSES)
HYBRID = dict(type='TimmViT', name='vit_small_r26_s32_224')
DEIT = dict(type='TimmViT', name='deit_small_patch16_224')
RESNET = dict(
    type='DeepLabResNet', depth=50, norm_eval=True, out_indices=(3,),
    strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4),
)  # fmt: skip
DECODER = dict(
    type='DeepLabV2Head', in_channels=2048, in_index=0, num_classes=CLASSES + 1,
    loss_decode=dict(type='mmseg.CrossEntropyLoss', avg_non_ignore=True),
)  # fmt: skip
Case = tuple[Callable[[], BaseModel], int, int, list[str]]
MODELS_OF: dict[str, Case] = {
    'hybrid': (
        lambda: WSSSClassifier(HYBRID, TOKEN), 224, 4,
        ['backbone.vit.patch_embed', 'backbone.vit.pos_embed', 'backbone.vit.cls_token'],
    ),
    'acr': (
        lambda: ACRClassifier(backbone=DEIT, head=TOKEN), 224, 2,
        [
            'backbone.vit.*_embed', 'backbone.vit.cls_token',
            'backbone.vit.blocks.[0-5]',
        ],
    ),
    'decoder': (
        lambda: EncoderDecoder(backbone=RESNET, decode_head=DECODER), 161, 2,
        [f'backbone.{part}' for part in ('conv1', 'bn1', 'layer1', 'layer2')],
    ),
}  # fmt: skip
"""How to build each, the side of its images, their number, and a half of it to freeze."""

SWITCHES: dict[str, dict[str, Any]] = {
    'plain': {},
    'bfloat16': dict(precision='bfloat16'),
    'float16': dict(precision='float16'),
    'accumulate 2': dict(accumulate=2),
    'checkpoint': dict(checkpoint=True),
    'channels last': dict(channels_last=True),
    'compile': dict(compile=True),
    'frozen half': dict(frozen=None),
    'accumulate 2, checkpoint': dict(accumulate=2, checkpoint=True),
    'bfloat16, channels last': dict(precision='bfloat16', channels_last=True),
}


class AsGiven(nn.Module):
    """A data preprocessor of batches that are prepared already."""

    def forward(self, data: dict[str, Any], training: bool) -> dict[str, Any]:
        """The batch itself."""
        return data


def batch(model: BaseModel, side: int, images: int, device: str) -> dict[str, Any]:
    """Random photos of 0..255 and what the model learns from, as a data loader gives them."""
    numbers = torch.Generator().manual_seed(0)
    photos = torch.randint(256, (images, 3, side, side), generator=numbers)
    inputs = ((photos / 255 - 0.5) * 4).to(device)  # as if normalised
    if isinstance(model, WSSSClassifier):
        samples = [ClassSample() for _ in photos]
        labels = torch.randint(0, 2, (images, CLASSES), generator=numbers).float()
        for sample, label in zip(samples, labels, strict=True):
            sample.gt_label = label.to(device)
        return dict(inputs=inputs, data_samples=samples)
    labels = torch.randint(0, CLASSES + 1, (images, 1, side, side), generator=numbers)
    labels[..., : side // 5] = 255
    maps = [PixelData(data=label.to(device)) for label in labels]
    samples = [SegDataSample(gt_sem_seg=each) for each in maps]
    return dict(inputs=inputs, data_samples=samples)


def build(case: Case, switches: dict[str, Any], device: str) -> tuple[BaseModel, Any]:
    """A model and its optimiser with the switches; weights are random and always the same."""
    make, _, _, half = case
    torch.manual_seed(0)
    model = make().to(device).train()
    model.data_preprocessor = AsGiven()
    if 'frozen' in switches:
        switches = dict(frozen=half)
    speed = Speed(**switches)
    wrapper = speed.optim_wrapper(
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-4, momentum=0.9))
    )
    speed.prepare(model)
    return speed.in_pieces(model), build_optim_wrapper(model, wrapper)


def first_gradients(model: BaseModel, data: dict[str, Any], wrapper: Any) -> Any:
    """The gradients of the first step, by name, on the CPU."""
    kept: dict[str, Tensor] = {}
    step = wrapper.optimizer.step

    def keeping(*args: Any, **kwargs: Any) -> Any:
        """The step, after the gradients were copied."""
        kept.update(
            {
                n: p.grad.float().cpu()
                for n, p in model.named_parameters()
                if p.grad is not None
            }
        )
        return step(*args, **kwargs)

    wrapper.optimizer.step = keeping
    model.train_step(data, wrapper)
    wrapper.optimizer.step = step
    return kept


def gap(found: dict[str, Tensor], plain: dict[str, Tensor]) -> float:
    """Largest difference of the gradients that both have, relative to the largest one."""
    largest = max(float(plain[name].abs().max()) for name in found)
    gaps = (float((found[name] - plain[name]).abs().max()) for name in found)
    return max(gaps) / largest


def measure(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one model."""
    case = MODELS_OF[name]
    plain: dict[str, Tensor] = {}
    rows = []
    for label in args.switches:
        row = dict(model=name, switch=label, seconds=None, peak_mb=None, gap=None)
        try:
            model, wrapper = build(case, SWITCHES[label], args.device)
        except UserError as error:
            rows.append({**row, 'note': f'refused: {error}'})
            continue
        data = batch(model, case[1], args.images or case[2], args.device)
        found = first_gradients(model, data, wrapper)
        plain = plain or found
        step = partial(model.train_step, data, wrapper)
        spent = [seconds(step, args.device) for _ in range(args.repeats)]
        row['seconds'] = round(statistics.median(spent), 3)
        row['peak_mb'] = round(peak_megabytes(step, args.device))
        row['gap'] = f'{gap(found, plain):.1e}'
        rows.append({**row, 'note': ''})
        del model, wrapper, step
    return rows


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description='Switches of training speed.')
    parser.add_argument(
        '--models', nargs='+', default=list(MODELS_OF), choices=MODELS_OF
    )
    parser.add_argument(
        '--switches', nargs='+', default=list(SWITCHES), choices=SWITCHES
    )
    parser.add_argument('--images', type=int, help='of a batch (default: by model)')
    parser.add_argument('--repeats', type=int, default=2)
    args = measured_args(parser)
    init_default_scope(SCOPE)
    about = print_about(args)
    rows = [row for name in args.models for row in measure(name, args)]
    print_table(rows)
    save_report(args, about=about, rows=rows)


if __name__ == '__main__':
    main()
