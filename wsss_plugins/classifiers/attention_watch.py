"""Monitors the entropy of attention, which is maximal when attention has collapsed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from wsss_plugins.backbones import TokenBackbone, capture
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import HOOKS

STATE = 'attention_entropy'
"""Key of a checkpoint under which the hook saves its state for resuming."""


def attention_entropy(attn: Tensor, num_prefix: int) -> Tensor:
    """Entropy of the attention of every token over the patches.

    Args:
        attn: ``(..., T, T)`` >= 0, row = query, prefix tokens first.
        num_prefix: Number of prefix tokens before the n patch tokens.

    Returns:
        ``(..., T)``: the entropy of each row over the patches, divided by ``log(n)``: 0
        where a token attends to one patch, 1 where it attends to all patches equally.
    """
    shares = attn[..., num_prefix:].float()
    tiny = torch.finfo(shares.dtype).tiny
    shares = shares / shares.sum(-1, keepdim=True).clamp(min=tiny)
    return torch.special.entr(shares).sum(-1) / max(math.log(shares.shape[-1]), tiny)


@dataclass(frozen=True)
class Entropies:
    """Entropies averaged over images, heads and rows, one number for each block.

    Attributes:
        patches: Entropies of the rows of the patch tokens.
        classes: Entropies of the rows of the class tokens; empty without class token.
    """

    patches: list[float]
    classes: list[float]

    def scalars(self) -> dict[str, float]:
        """The entropies by their names in logs."""
        named = {f'{STATE}/block_{k}': value for k, value in enumerate(self.patches)}
        more = {f'{STATE}/class_block_{k}': v for k, v in enumerate(self.classes)}
        return named | more


@torch.no_grad()
def measure_entropy(backbone: TokenBackbone, images: Tensor) -> Entropies:
    """The entropies of each block; the backbone is left as it was.

    Args:
        backbone: The backbone. It is run in evaluation mode, so that no random number
            is drawn and no running statistic changes.
        images: ``(N, 3, H, W)``, normalised; each image is one forward pass.

    Raises:
        ConfigError: The rows of the attention are not distributions.
        UserError: The backbone has no attention.
    """
    prefix, classes = backbone.num_prefix, backbone.num_class_tokens
    seen = []
    with _evaluating(backbone):
        for image in images.split(1):
            with capture(backbone, image) as trace:
                _refuse_other_attention(backbone, trace.attn[0])
                rows = [attention_entropy(a, prefix) for a in trace.attn]
            seen.append(torch.stack([r.mean((0, 1)) for r in rows]).double())  # (L, T)
    mean = torch.stack(seen).mean(0)
    of_classes = mean[:, : min(classes, prefix)]
    return Entropies(
        mean[:, prefix:].mean(1).tolist(),
        of_classes.mean(1).tolist() if of_classes.shape[1] else [],
    )


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Sets evaluation mode; on exit the mode of every module is restored."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def _refuse_other_attention(backbone: TokenBackbone, attn: Tensor) -> None:
    if not attn.isfinite().all():
        return  # the training has broken down, and its loss says so
    sums = attn.float().sum(-1)
    if attn.min() < 0 or not torch.allclose(sums, torch.ones_like(sums), atol=0.02):
        raise ConfigError(
            f'the attention of {type(backbone).__name__} has no rows that sum to 1, and '
            'so no entropy: leave AttentionEntropyHook out of custom_hooks',
            token='AttentionEntropyHook',
        )


@HOOKS.register_module()
class AttentionEntropyHook(Hook):
    """Logs the entropy of attention during training, and warns once when it collapses.

    Uniform attention, in which every patch attends to all patches equally, also
    minimises a consistency loss of attention. After the first iteration and every
    ``interval`` ones, the entropies of the patches' rows (``attention_entropy/block_0``
    ...) and of the class tokens' (``attention_entropy/class_block_0`` ...), between 0
    and 1, go to the scalars of the run. The hook warns when the entropies of the
    patches exceed ``threshold`` in half of the blocks or more. If they exceed it from
    the first measurement on, as in training from scratch, the hook warns only after the
    share ``patience`` of the training. A resumed training does not repeat the warning.
    Only the first process measures, and the hook does not change the training.

    Args:
        interval: Iterations between two measurements.
        images: Number of images of the batch that are measured.
        threshold: Share of the maximal entropy, in (0, 1).
        patience: Share of the iterations, in [0, 1].

    Raises:
        ConfigError: ``interval`` or ``images`` is below 1, ``threshold`` is not in (0, 1),
            or ``patience`` is not in [0, 1].
    """

    priority = 'LOW'

    def __init__(
        self,
        interval: int = 100,
        images: int = 2,
        threshold: float = 0.98,
        patience: float = 0.25,
    ) -> None:
        for name, count in dict(interval=interval, images=images).items():
            if count < 1:
                raise ConfigError(f'{name} must be 1 or more, not {count}', token=name)
        if not 0 < threshold < 1:
            raise ConfigError(
                f'threshold must be in (0, 1), not {threshold}', token='threshold'
            )
        if not 0 <= patience <= 1:
            raise ConfigError(
                f'patience must be in [0, 1], not {patience}', token='patience'
            )
        self.interval, self.images = interval, images
        self.threshold, self.patience = threshold, patience
        self.state: dict[str, bool] = {}

    def before_train(self, runner: Runner) -> None:
        """Restores the state of a resumed training; refuses attention-free models."""
        _backbone_of(runner)
        known = runner.message_hub.runtime_info.get(STATE, {}) if runner.iter else {}
        self.state = dict(known)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Saves the state of the hook in the checkpoint."""
        checkpoint['message_hub']['runtime_info'][STATE] = dict(self.state)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Measures, logs and warns."""
        due = runner.iter == 0 or self.every_n_train_iters(runner, self.interval)
        if not due or not is_main_process():
            return
        entropies = measure_entropy(
            _backbone_of(runner), self._look(runner, data_batch)
        )
        runner.visualizer.add_scalars(entropies.scalars(), step=runner.iter + 1)
        listing = ' '.join(f'{value:.3f}' for value in entropies.patches)
        runner.logger.info(f"entropy of the patches' attention by block: {listing}")
        self._judge(runner, entropies.patches)

    def _look(self, runner: Runner, data_batch: Any) -> Tensor:
        """The first images of a batch ``(N, 3, H, W)``, normalised."""
        inputs = _bare(runner).data_preprocessor(data_batch, False)['inputs']
        images: Tensor = inputs[: self.images]
        if images.ndim == 5:  # several views of each
            images = images[:, 0]
        return images

    def _judge(self, runner: Runner, entropies: list[float]) -> None:
        even = sum(value > self.threshold for value in entropies)
        collapsed = 2 * even >= len(entropies)
        began_even = self.state.setdefault('began_even', collapsed)
        late = runner.iter + 1 >= self.patience * runner.max_iters
        if not collapsed or self.state.get('warned') or (began_even and not late):
            return
        self.state['warned'] = True
        runner.logger.warning(
            f'attention {"is still" if began_even else "has become"} almost even at '
            f"iteration {runner.iter + 1}: the entropy of the patches' attention exceeds "
            f'{self.threshold:g} of its maximum in {even} of {len(entropies)} blocks, and '
            'maps read from it show little; lower the weights of the consistency, or '
            'start from pretrained weights'
        )


def _bare(runner: Runner) -> Any:
    """The model without its distributed wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _backbone_of(runner: Runner) -> TokenBackbone:
    """The backbone whose attention is watched.

    Raises:
        ConfigError: The model has no backbone with attention.
    """
    model = _bare(runner)
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, TokenBackbone) or not backbone.attention_modules():
        raise ConfigError(
            f'{type(model).__name__} has no backbone with attention: leave '
            'AttentionEntropyHook out of custom_hooks',
            token='AttentionEntropyHook',
        )
    return backbone
