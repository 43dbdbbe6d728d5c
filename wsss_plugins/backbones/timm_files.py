"""Files of weights for vision transformers of timm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from timm.models.eva import Eva
from timm.models.eva import checkpoint_filter_fn as of_eva
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer import checkpoint_filter_fn as of_vit
from torch import Tensor

from wsss_plugins.backbones.weights import LoadReport, load_weights, read_weights
from wsss_plugins.errors import CheckpointError


def load_vit(vit: VisionTransformer | Eva, path: str) -> LoadReport:
    """Fills ``vit`` from a file, its position embeddings resampled where they differ.

    Args:
        vit: The model, filled in place, including its head if it has one.
        path: A file of weights of timm, of the authors of DeiT, of a classifier of this
            package, or the ``.npz`` of the authors of ViT.

    Returns:
        The report of what was loaded. An ``.npz`` must hold all weights of its model.

    Raises:
        CheckpointError: The file is missing or damaged, or is of another model.
    """
    weights = read_weights(path)
    if Path(path).suffix == '.npz' and 'embedding/kernel' in weights:
        model: Any = vit
        model.load_pretrained(path)  # timm reads the JAX layout
        new = tuple(k for k in vit.state_dict() if k.endswith('.attn.bias'))  # of E-MHA
        known = tuple(k for k in vit.state_dict() if k not in new)
        return LoadReport(known, missing=new, unexpected=(), other_shape=())
    weights = {
        k.removeprefix('backbone.').removeprefix('vit.'): v for k, v in weights.items()
    }
    return fill_vit(vit, weights, path)


def fill_vit(
    vit: VisionTransformer | Eva, weights: dict[str, Tensor], source: str
) -> LoadReport:
    """Fills ``vit`` from tensors, its position embeddings resampled where they differ.

    Args:
        vit: Filled in place.
        weights: Name to tensor, in a layout that timm knows.
        source: Origin of the weights, for messages.

    Returns:
        The report of what was loaded, which is also logged.

    Raises:
        CheckpointError: The weights are of another model.
    """
    plain = isinstance(vit, VisionTransformer)
    translate: Callable[..., Any] = of_vit if plain else of_eva
    try:
        weights = translate(_drop_positions(weights, vit), vit)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f'checkpoint {source} is of another model than {type(vit).__name__}: its '
            f'position embeddings do not fit ({reason}); give one with as many prefix '
            'tokens'
        ) from error
    report = load_weights(vit, weights, source, strict=False)
    print_log(f'{source}: {report}', logger='current')
    return report


def _drop_positions(
    weights: dict[str, Tensor], vit: VisionTransformer | Eva
) -> dict[str, Tensor]:
    """Removes the position embeddings of prefix tokens that ``vit`` does not have."""
    names = [n for n in ('cls_token', 'dist_token') if n in weights]
    table = weights.get('pos_embed')
    drop = [i for i, n in enumerate(names) if getattr(vit, n, None) is None]
    if table is None or not drop or vit.no_embed_class:
        return weights
    stay = [i for i in range(table.shape[1]) if i not in drop]
    return {**weights, 'pos_embed': table[:, stay]}
