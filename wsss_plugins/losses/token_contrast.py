"""Contrasts of tokens: patches of one label are alike, uncertain crops follow the whole.

Source: Ru et al., "Token Contrast for Weakly-Supervised Semantic Segmentation" (ToCo), CVPR
2023, sections 3.2 and 3.3, with the sums, constants and traps of the released code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.losses.whole_batch import whole_batch_mean
from wsss_plugins.registry import MODELS
from wsss_plugins.structures import IGNORE

FORMS = ('released', 'paper')
"""Whether a loss is that of the released code, or without what only the code has."""


def check_form(form: str) -> str:
    """The form of a loss, if there is one of that name.

    Raises:
        ConfigError: ``form`` is not in :data:`FORMS`.
    """
    if form not in FORMS:
        raise ConfigError(
            f"unknown form '{form}': {near_names(form, FORMS)}", token=form
        )
    return form


def equal_pairs(labels: Tensor, window: Tensor | None = None) -> Tensor:
    """Which pairs of cells of a label map have one label.

    Args:
        labels: ``(N, h, w)`` integers; 255 is unsure.
        window: ``(h w, h w)`` bool, the pairs that count; all by default.

    Returns:
        ``(N, h w, h w)`` int64: 1 equal labels, 0 different labels, 255 where one of both
        is unsure or the pair does not count.
    """
    flat = labels.flatten(1)
    pairs = (flat[:, None] == flat[:, :, None]).long()
    unsure = flat == IGNORE
    if window is not None:
        pairs[:, ~window.to(pairs.device)] = IGNORE
    return pairs.masked_fill_(unsure[:, None] | unsure[:, :, None], IGNORE)


def pair_means(
    alike: Tensor, unlike: Tensor, pairs: Tensor, more: float
) -> tuple[Tensor, Tensor]:
    """Mean costs of equal and of different pairs, over the batch of all workers.

    Args:
        alike: ``(N, P, P)``, costs of equal pairs.
        unlike: ``(N, P, P)``, costs of different pairs.
        pairs: ``(N, P, P)``, of :func:`equal_pairs`.
        more: Added to both counts.

    Returns:
        Two scalars, see :func:`~wsss_plugins.losses.whole_batch.whole_batch_mean`.
    """
    same, different = pairs == 1, pairs == 0
    return (
        whole_batch_mean((alike * same).sum(), same.sum(), more),
        whole_batch_mean((unlike * different).sum(), different.sum(), more),
    )


@MODELS.register_module()
class PatchContrastLoss(nn.Module):
    """Patch tokens of one label are alike, those of different labels are not.

    ``0.5 (1 - mean of |cos| over equal pairs) + 0.5 mean of |cos| over different pairs``,
    the means over the whole batch with 1 added to each count, and a patch is no pair with
    itself. A batch without pairs gives 0.5, without gradient.

    Args:
        loss_weight: Factor of the loss; ToCo has 0.2.
        form: ``'released'``, as above; ``'paper'`` has the signed cosine, neither the
            factors 0.5 nor the 1 in the counts, and is 0 for a batch without pairs.

    Raises:
        ConfigError: ``form`` is unknown.
    """

    def __init__(self, loss_weight: float = 0.2, form: str = 'released') -> None:
        super().__init__()
        self.loss_weight, self.form = loss_weight, check_form(form)

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Compares tokens with a label map on their grid.

        Args:
            tokens: ``(N, D, h, w)``.
            labels: ``(N, h, w)`` integers; 255 is unsure.

        Returns:
            A scalar.
        """
        units = F.normalize(tokens.flatten(2), dim=1, eps=1e-8)
        cosines = units.transpose(1, 2) @ units
        own = torch.eye(cosines.shape[-1], dtype=torch.bool, device=cosines.device)
        pairs = equal_pairs(labels, ~own)
        if self.form == 'paper':
            same, different = pair_means(1 - cosines, cosines, pairs, 0)
            return self.loss_weight * (same + different)
        cosines = cosines.abs()
        same, different = pair_means(cosines, cosines, pairs, 1)
        return self.loss_weight * (0.5 * (1 - same) + 0.5 * different)


@MODELS.register_module()
class ClassContrastOfCropsLoss(nn.Module):
    """Crops that show an object are near the whole image, crops of background are not.

    For a view v of the teacher and a crop j of the student ``E = exp(t_v . s_j / T)``, and
    N_v is the sum of E over the crops of background. A crop with an object costs
    ``-log(E / (E + N_v))``; once for each view the code adds the cost of a crop with
    similarity 0, ``-log(1 / (1 + N_v))``. The costs of an image are divided by the number
    of its crops with an object and of the views.

    Args:
        temperature: T; 0.5 on VOC and 1.0 on COCO.
        loss_weight: Factor of the loss; ToCo has 0.5.
        eps: Added to sums and counts.
        form: ``'released'``, as above; ``'paper'`` leaves the cost of the crop with
            similarity 0 out.

    Raises:
        ConfigError: ``temperature`` is not positive, or ``form`` is unknown.
    """

    def __init__(
        self,
        temperature: float = 0.5,
        loss_weight: float = 0.5,
        eps: float = 1e-4,
        form: str = 'released',
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigError(
                f'temperature of the class contrast must be > 0, not {temperature}',
                token='temperature',
            )
        self.temperature, self.loss_weight, self.eps = temperature, loss_weight, eps
        self.form = check_form(form)

    def forward(self, student: Tensor, teacher: Tensor, flags: Tensor) -> Tensor:
        """Compares embeddings of crops with those of whole views.

        Args:
            student: ``(n N, D)``, the first crop of all N images first.
            teacher: ``(2 N, D)``, in the same order; not detached here.
            flags: ``(N, n)`` of {0, 1}: whether each crop shows an object.

        Returns:
            A scalar.
        """
        images, crops = flags.shape
        ours = student.unflatten(0, (crops, images))
        theirs = teacher.unflatten(0, (-1, images))
        products = torch.einsum('vnd,cnd->nvc', theirs, ours)
        similar = (products / self.temperature).exp()
        shown = flags[:, None].to(similar)
        wrong = (similar * (1 - shown)).sum(2, keepdim=True) + self.eps
        costs = (-(similar / (similar + wrong)).log() * shown).sum(2)
        if self.form == 'released':
            costs = costs - (1 / (1 + wrong[..., 0])).log()
        each = costs.sum(1) / (len(theirs) * (shown[:, 0].sum(1) + self.eps))
        return self.loss_weight * each.mean()
