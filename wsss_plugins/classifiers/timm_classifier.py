"""A vision transformer of timm with its own head, as a classifier of the platform."""

from __future__ import annotations

import re
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from wsss_plugins.backbones import TimmViT, Tokens, read_weights
from wsss_plugins.backbones.timm_files import load_vit
from wsss_plugins.backbones.timm_kinds import check_plain
from wsss_plugins.backbones.timm_vit import build_vit
from wsss_plugins.classifiers.classifier import WSSSClassifier
from wsss_plugins.classifiers.head import TokenHead
from wsss_plugins.classifiers.pooled_head import PooledHead
from wsss_plugins.errors import CheckpointError, ConfigError
from wsss_plugins.lrp import Add
from wsss_plugins.registry import MODELS


class TimmHead(TokenHead):
    """The linear head of a timm model on its class token, or the two of a distilled DeiT.

    In evaluation a distilled DeiT returns the mean of two heads, one on the class token
    and one on the distillation token, and that mean is explained. The weights of both
    heads are halved when they are copied, so that the logits are a sum.

    Source: Touvron et al., Training Data-efficient Image Transformers, 2021, section 4.

    Args:
        layers: The linear layer of the class token, and that of the distillation token
            if there is one; these are the first two prefix tokens.
        single_label: Whether the probabilities are a softmax, rather than sigmoids.
    """

    def __init__(self, *layers: nn.Linear, single_label: bool = True) -> None:
        first = layers[0]
        super().__init__(
            first.out_features, first.in_features, sources=('class',), shared=True
        )
        self.fc = first
        self.distillation_fc = layers[1] if len(layers) > 1 else None
        self.add = Add()
        self.single_label = single_label
        for layer in layers:
            for weight in layer.parameters():
                weight.data /= len(layers)

    def class_logits(self, tokens: Tokens) -> Tensor:
        """The logits of the model, ``(N, C)``."""
        return self._sum(tokens.prefix[:, :2].unbind(1))

    def patch_logits(self, tokens: Tokens) -> Tensor:
        """Logits of the head applied to every patch token, ``(N, C, h, w)``."""
        patch = tokens.patch.movedim(1, -1)
        return self._sum((patch, patch)).movedim(-1, 1)

    def scores(self, tokens: Tokens) -> Tensor:
        """Probability of each class, ``(N, C)``."""
        logits = self.class_logits(tokens)
        return logits.softmax(1) if self.single_label else logits.sigmoid()

    def _sum(self, tokens: tuple[Tensor, ...]) -> Tensor:
        logits = self.fc(tokens[0])
        if self.distillation_fc is None:
            return logits
        return self.add(logits, self.distillation_fc(tokens[1]))


@MODELS.register_module()
class TimmClassifier(WSSSClassifier):
    """A vision transformer of timm, classification head included; see :class:`TimmViT`.

    Its logits are those of timm's own model.

    Args:
        name: A timm model; see :class:`TimmViT`. A built timm model is used as it is,
            and its head moves into this classifier.
        pretrained: True for timm's weights of that name, a path for a local file with
            the head in it (torch, safetensors, or the ``.npz`` of the authors of ViT).
        num_classes: C. By default that of the file, or of timm's weights (mostly 1000);
            another number starts with a new head.
        mean: RGB mean of the images, in 0..255; by default that of timm's weights.
        std: RGB standard deviation; by default that of timm's weights.
        single_label: Whether an image is of one class, so that probabilities sum to 1.
        loss: See :class:`WSSSClassifier`.
        drop_patches: See :class:`WSSSClassifier`.
        init_cfg: mmengine's.
        arch: Keyword arguments of timm's model, such as ``img_size``.

    Raises:
        ConfigError: The name or an argument is unknown, or the head of the model reads
            neither the class token alone, nor the mean or an attention pooling of tokens.
        CheckpointError: The weights cannot be loaded, are incomplete or do not fit.
    """

    def __init__(
        self,
        name: str | VisionTransformer | Eva,
        pretrained: bool | str | None = True,
        num_classes: int | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        single_label: bool = True,
        loss: dict[str, Any] | None = None,
        drop_patches: float = 0.0,
        init_cfg: dict[str, Any] | None = None,
        **arch: Any,
    ) -> None:
        if not isinstance(name, str):
            check_plain(name, type(name).__name__)
            vit = name
        elif isinstance(pretrained, str):
            vit = _from_file(name, pretrained, num_classes, arch)
        else:
            vit = build_vit(name, bool(pretrained), num_classes=num_classes, **arch)
        head = head_of(vit, single_label)
        vit.reset_classifier(0)
        wanted = getattr(vit, 'pretrained_cfg', None) or {}
        super().__init__(
            TimmViT(vit),
            head,
            loss,
            drop_patches,
            mean or _in_255(wanted.get('mean', IMAGENET_DEFAULT_MEAN)),
            std or _in_255(wanted.get('std', IMAGENET_DEFAULT_STD)),
            init_cfg,
        )


def _from_file(
    name: str, path: str, num_classes: int | None, arch: dict[str, Any]
) -> VisionTransformer | Eva:
    """The model with all the weights of a file, but for a head of another size."""
    if num_classes is None:
        num_classes = _classes_of_file(path)
    vit = build_vit(name, False, num_classes=num_classes, **arch)
    report = load_vit(vit, path)
    lost = [*report.missing, *report.other_shape] if report else []
    lost = [key for key in lost if not key.startswith('head')]
    if lost:
        raise CheckpointError(
            f'checkpoint {path} is of another model than {name}: {report}; name the '
            'model that it belongs to'
        )
    return vit


def _classes_of_file(path: str) -> int:
    """Number of classes of the head of a checkpoint."""
    for key, value in read_weights(path).items():
        if re.fullmatch(r'(.*[./])?head[./]bias', key):
            return len(value)
    raise CheckpointError(
        f'checkpoint {path} has no classification head (head.weight, head.bias): give '
        'one that has, or num_classes=C to begin with a new one'
    )


def head_of(vit: Any, single_label: bool) -> TokenHead:
    """The head of a model of timm; what pools its tokens moves into it.

    Args:
        vit: A model that :class:`TimmViT` can be built around, changed in place.
        single_label: Whether the probabilities are a softmax, rather than sigmoids.

    Raises:
        ConfigError: The head is neither linear on the prefix tokens nor on pooled ones.
    """
    fc = vit.get_classifier()
    if vit.global_pool not in ('avg', 'map') or not isinstance(fc, nn.Linear):
        return TimmHead(*_linear_heads(vit), single_label=single_label)
    prefix = getattr(vit, 'pool_include_prefix', False)
    head = PooledHead(fc, vit.fc_norm, vit.attn_pool, prefix, single_label)
    vit.attn_pool, vit.fc_norm = None, nn.Identity()
    return head


def _linear_heads(vit: VisionTransformer | Eva) -> list[nn.Linear]:
    """The linear layers whose mean are the logits.

    Raises:
        ConfigError: The head is not linear on the prefix tokens.
    """
    found = vit.get_classifier()
    layers = list(found) if isinstance(found, tuple) else [found]
    plain = isinstance(vit.fc_norm, nn.Identity) and vit.global_pool == 'token'
    if not plain or not all(isinstance(layer, nn.Linear) for layer in layers):
        raise ConfigError(
            f"the head of this {type(vit).__name__} (global_pool='{vit.global_pool}', "
            f'num_classes={vit.num_classes}) is not linear on the class token: name a '
            'model that is, such as vit_base_patch16_224 or deit_base_patch16_224'
        )
    return layers


def _in_255(colour: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = (255 * value for value in colour)
    return red, green, blue
