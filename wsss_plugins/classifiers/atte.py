"""The attribute-guided explainer of eX-ViT (AttE), and the head that classifies with it.

Source: Yu et al., eX-ViT: A Novel eXplainable Vision Transformer for Weakly Supervised
Semantic Segmentation, 2022, eqs. 7 to 12. Choices that the paper leaves open are
arguments here; docs/methods.md explains the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from wsss_plugins.backbones import Tokens
from wsss_plugins.classifiers.head import TokenHead, pool_top
from wsss_plugins.errors import ConfigError, UserError, near_names
from wsss_plugins.losses import at_least_float32, power_mean_root
from wsss_plugins.registry import MODELS

MEETS = ('norm', 'tile', 'project')
CLASSIFY = ('attributes', 'tokens')

SHORTEST = 1e-4
"""Shorter weight vectors have no direction: eq. 8 sets them to 0, without gradient."""


@dataclass(frozen=True)
class Attributes:
    """The attribute features ``G_s = W_s * F`` (eq. 9), stored as the two factors.

    D channels are R repetitions of k, and a weight is shared by the repetitions. Only
    :meth:`made` computes the full tensor ``(N, S, D, h, w)``; all other methods work on
    the factors.

    Attributes:
        weight: ``(N, S, k, h, w)``.
        features: F, ``(N, R, k, h, w)``; channel ``r k + j`` of D is ``[r, j]``.
    """

    weight: Tensor
    features: Tensor

    def made(self) -> Tensor:
        """G, ``(N, S, D, h, w)``."""
        return (self.weight[:, :, None] * self.features[:, None]).flatten(2, 3)

    def pooled(self, power: float) -> Tensor:
        """Generalised means over the image, ``(N, S, D)``.

        Equal to :func:`wsss_plugins.losses.generalised_mean` of :meth:`made`: the
        positive part of a product is that of both factors, or of both negated.
        """
        weight, features = self._flat()
        total = torch.zeros((), device=weight.device)
        for sign in (1, -1):
            one = (sign * weight).clamp(min=0).pow(power)
            two = (sign * features).clamp(min=0).pow(power)
            with _full_precision(one):
                total = total + torch.einsum('nskx,nrkx->nsrk', one, two)
        mean = total.flatten(2) / weight.shape[3]
        return power_mean_root(mean, power)

    def inner_products(self) -> Tensor:
        """``<G_i, G_j>``, ``(N, S, S)``."""
        weight, features = self._flat()
        energy = features.square().sum(1, keepdim=True)  # (N, 1, k, h w)
        with _full_precision(weight):
            return (weight * energy).flatten(2) @ weight.flatten(2).transpose(1, 2)

    def logits(self, fused: Tensor, weight: Tensor) -> Tensor:
        """Contribution of each attribute to the logits of ``M = fused * G`` (eq. 11).

        Args:
            fused: ``(N, D, h, w)``.
            weight: Of the classification layer, ``(C, S, D)``.

        Returns:
            ``(N, S, C, h, w)``.
        """
        fused, weight = at_least_float32(fused), at_least_float32(weight)
        product = fused.unflatten(1, self.features.shape[1:3]) * self.features
        with _full_precision(product):
            if self.weight.shape[2] == 1:  # one weight for all channels goes outside
                maps = torch.einsum('csd,ndhw->nschw', weight, product.flatten(1, 2))
                return maps * self.weight
            parts = [
                torch.einsum('cd,ndhw->nchw', w, (v[:, None] * product).flatten(1, 2))
                for w, v in zip(weight.unbind(1), self.weight.unbind(1), strict=True)
            ]
            return torch.stack(parts, 1)

    def _flat(self) -> tuple[Tensor, Tensor]:
        """Both factors, ``(N, S or R, k, h w)``."""
        weight, features = self.weight.flatten(3), self.features.flatten(3)
        return at_least_float32(weight), at_least_float32(features)


def _full_precision(values: Tensor) -> torch.autocast:
    """Disables half precision, since products of features overflow it."""
    return torch.autocast(values.device.type, enabled=False)


class AttributeExplainer(BaseModule):
    """AttE: splits a feature map into S attributes (eqs. 7 to 9).

    A two-layer MLP computes c channels at each patch. They are scaled to unit length
    and split into S groups ``W_s``, and each group weights the features. The MLP is
    initialised as He et al. (2015) propose.

    Args:
        embed_dims: D, channels of the features.
        channels: c; the paper takes 256.
        attributes: S; the paper takes 8 on VOC and 16 on COCO.
        meet: How the c / S channels of ``W_s`` are matched to the D channels of F.
            ``'norm'``: F is weighted by the length of ``W_s``, one number per patch.
            ``'tile'``: ``W_s`` is repeated along the D channels. ``'project'``: a
            learnt linear map takes ``W_s`` to D channels.

    Raises:
        ConfigError: ``meet`` is unknown, or a number of channels does not divide
            another.
    """

    def __init__(
        self,
        embed_dims: int,
        channels: int = 256,
        attributes: int = 8,
        meet: str = 'norm',
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if meet not in MEETS:
            raise ConfigError(
                f"unknown meet '{meet}': {near_names(meet, MEETS)}", token=meet
            )
        if attributes < 1 or channels < 1 or channels % attributes:
            raise ConfigError(
                f'{channels} channels do not make {attributes} attributes of equal size: '
                'give channels as a multiple of attributes',
                token='channels',
            )
        each = channels // attributes
        if meet == 'tile' and embed_dims % each:
            raise ConfigError(
                f"meet='tile' repeats {each} channels (channels / attributes) along the "
                f'{embed_dims} of a token, which is no multiple: change one, or take '
                "meet='norm'",
                token='meet',
            )
        self.num_attributes, self.meet = attributes, meet
        self.mlp = nn.Sequential(
            nn.Linear(embed_dims, channels),
            nn.LayerNorm(channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
        )
        self.project = (
            nn.Linear(each, embed_dims, bias=False) if meet == 'project' else None
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                he_normal(layer)

    def forward(self, features: Tensor) -> Tensor:
        """The normalised weights of eq. 8.

        Args:
            features: F, ``(N, D, h, w)``.

        Returns:
            ``(N, S, c / S, h, w)``; unit length over S and c / S together, at each
            place. At least float32.
        """
        weight = self.mlp(features.movedim(1, -1)).movedim(-1, 1)
        weight = at_least_float32(weight)
        length = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
        unit = torch.where(length > SHORTEST, weight / length.clamp(min=SHORTEST), 0)
        return unit.unflatten(1, (self.num_attributes, -1))

    def decompose(self, features: Tensor) -> Attributes:
        """G as its two factors; see :meth:`attributes`."""
        weight = self(features)
        if self.meet == 'norm':
            weight = torch.linalg.vector_norm(weight, dim=2, keepdim=True)
        if self.project is not None:
            weight = self.project(weight.movedim(2, -1)).movedim(-1, 2)
            weight = at_least_float32(weight)
        return Attributes(weight, features.unflatten(1, (-1, weight.shape[2])))

    def attributes(self, features: Tensor) -> Tensor:
        """The attribute features of eq. 9, ``(N, S, D, h, w)``.

        Args:
            features: F, ``(N, D, h, w)``.
        """
        return self.decompose(features).made()


@MODELS.register_module()
class AttributeHead(TokenHead):
    """Classifies the attribute-guided features ``M = fused * G`` of AttE.

    A linear layer with separate weights for each attribute computes the class logits of
    every patch as the sum of the contributions of the attributes. The logits of the
    image are pooled from them. If a backbone offers no fused tokens, its last patch
    tokens are used.

    Source: Yu et al., eX-ViT, 2022, eqs. 7 to 12.

    Args:
        num_classes: C, foreground classes.
        embed_dims: D, channels of a token.
        channels: See :class:`AttributeExplainer`.
        attributes: See :class:`AttributeExplainer`.
        meet: See :class:`AttributeExplainer`.
        pool_fraction: Share of the patches that are averaged; see :func:`pool_top`.
        classify: Input of the classification layer: ``'attributes'``, or the
            ``'tokens'`` of the backbone, which is the plain CAM of the rows without
            ``L_global`` in table 6. With ``'tokens'`` AttE is trained by the other
            losses only.

    Raises:
        ConfigError: ``meet`` or ``classify`` is unknown, ``channels`` or ``attributes`` is
            below 1, or ``channels`` is no multiple of ``attributes``.
    """

    def __init__(
        self,
        num_classes: int,
        embed_dims: int,
        channels: int = 256,
        attributes: int = 8,
        meet: str = 'norm',
        pool_fraction: float = 0.2,
        classify: str = 'attributes',
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            num_classes,
            embed_dims,
            sources=('patch',),
            pool_fraction=pool_fraction,
            init_cfg=init_cfg,
        )
        if classify not in CLASSIFY:
            raise ConfigError(
                f"classify must be one of {CLASSIFY}, not '{classify}'", token=classify
            )
        self.classify = classify
        self.atte = AttributeExplainer(embed_dims, channels, attributes, meet)
        if classify == 'attributes':
            self.fc = nn.Linear(attributes * embed_dims, num_classes)
        he_normal(self.fc)

    def decompose(self, tokens: Tokens) -> Attributes:
        """G as its two factors."""
        return self.atte.decompose(tokens.patch)

    def attributes(self, tokens: Tokens) -> Tensor:
        """G, ``(N, S, D, h, w)``."""
        return self.decompose(tokens).made()

    def attribute_weight(self, tokens: Tokens) -> Tensor:
        """Length of ``W_s`` at each patch, ``(N, S, h, w)`` in [0, 1].

        The squares of the weights of a patch sum to 1 over the attributes.
        """
        return torch.linalg.vector_norm(self.atte(tokens.patch), dim=2)

    def attribute_logits(
        self, tokens: Tokens, attributes: Attributes | None = None
    ) -> Tensor:
        """The contribution of each attribute to the class logits of each patch.

        Args:
            tokens: Tokens of the backbone.
            attributes: Result of :meth:`decompose`, if it is known already.

        Returns:
            ``(N, S, C, h, w)``; the sum over S plus the bias is :meth:`patch_logits`.

        Raises:
            UserError: ``classify`` is 'tokens', so that the logits do not read
                attributes.
        """
        if self.classify == 'tokens':
            raise UserError(
                "with classify='tokens' the attributes add nothing to the class logits: "
                "train with classify='attributes', or ask for attribute_weight"
            )
        fused = tokens.patch if tokens.fused is None else tokens.fused
        weight = self.fc.weight.unflatten(1, (self.atte.num_attributes, -1))
        return (attributes or self.decompose(tokens)).logits(fused, weight)

    def patch_logits(
        self, tokens: Tokens, attributes: Attributes | None = None
    ) -> Tensor:
        """Class logits of every patch, ``(N, C, h, w)``."""
        if self.classify == 'tokens':
            return super().patch_logits(tokens)
        maps = self.attribute_logits(tokens, attributes).sum(1)
        return maps + self.fc.bias[:, None, None]

    def pooled_logits(
        self, tokens: Tokens, attributes: Attributes | None = None
    ) -> Tensor:
        """Patch logits pooled over the image, ``(N, C)``."""
        return pool_top(self.patch_logits(tokens, attributes), self.pool_fraction)


def he_normal(layer: nn.Linear) -> None:
    """Weights as He et al., Delving Deep into Rectifiers, 2015, propose; no bias."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
