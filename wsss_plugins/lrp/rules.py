"""Rules distribute the relevance of a layer's output over its inputs.

A rule is called once per layer and forward pass. It returns a function from the
relevance of the outputs to the relevance of the inputs. Quantities that do not depend
on the relevance, such as denominators, are therefore computed once for all classes of
an image.

Every sum runs over one sample, so a batch gives the same relevance as its images one by
one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn

from wsss_plugins.lrp.functional import (
    affine,
    affine_transpose,
    safe_inverse,
    stable_inverse,
)

Share = Callable[..., tuple[Tensor | None, ...]]
"""From the relevance of each output to that of each input (None for no relevance)."""


class Rule(ABC):
    """A rule of relevance propagation; one object may serve any number of layers."""

    @abstractmethod
    def __call__(self, layer: Any, *inputs: Tensor) -> Share:
        """Prepares a layer.

        Args:
            layer: The module; its weights are read only.
            inputs: The detached inputs that the module was called with.

        Returns:
            The function from the relevance of the outputs to that of the inputs.
        """


class Identity(Rule):
    """Passes relevance on unchanged: for elementwise layers and for norms.

    The input of a layer with several outputs gets the sum of their relevance.
    """

    def __call__(self, layer: Any, *inputs: Tensor) -> Share:
        """See :class:`Rule`."""
        return lambda *relevance: (sum(relevance[1:], start=relevance[0]),)


class Uniform(Rule):
    """Products of n factors, element by element: each factor gets 1/n of the relevance.

    Nothing is divided by the output, so relevance is conserved also where it is 0.

    Source: Achtibat et al., AttnLRP, 2024, section 3.3 (uniform rule), which they use for
    gated MLPs.
    """

    def __call__(self, layer: Any, *inputs: Tensor) -> Share:
        """See :class:`Rule`."""
        return lambda relevance: (relevance / len(inputs),) * len(inputs)


@dataclass(frozen=True)
class Ratio(Rule):
    """Each input in proportion to its contribution: ``R_i = x_i (dz/dx_i)' (R / z)``.

    Contributions are signed. The rule holds for any differentiable layer with one or
    more inputs and outputs. In a product of two inputs each input would receive the
    whole relevance, so products use ``factor`` 1/2.

    Source: Chefer et al., Transformer Interpretability Beyond Attention Visualization,
    2021, eq. 2, with the division of its code (:func:`safe_inverse`).

    Args:
        factor: Multiplies the relevance of every input.
    """

    factor: float = 1.0

    def __call__(self, layer: Any, *inputs: Tensor) -> Share:
        """See :class:`Rule`."""
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in inputs]
            found = type(layer).forward(layer, *leaves)
        outputs = found if isinstance(found, tuple) else (found,)

        inverses = [self.inverse(z.detach()) for z in outputs]

        def share(*relevance: Tensor) -> tuple[Tensor | None, ...]:
            """Each input times the gradient of the outputs, weighted by relevance / output."""
            quotients = [r * i for r, i in zip(relevance, inverses, strict=True)]
            gradients = torch.autograd.grad(
                outputs, leaves, quotients, retain_graph=True
            )
            return tuple(
                x.detach() * g * self.factor
                for x, g in zip(leaves, gradients, strict=True)
            )

        return share

    def inverse(self, z: Tensor) -> Tensor:
        """What the relevance of an output ``z`` is multiplied by."""
        return safe_inverse(z)


@dataclass(frozen=True)
class Epsilon(Ratio):
    """:class:`Ratio` with a stabiliser of the sign of the output, which includes a bias.

    Source: Bach et al., On Pixel-wise Explanations, 2015, eq. 58.

    Args:
        epsilon: The stabiliser, > 0.
    """

    epsilon: float = 1e-6

    def inverse(self, z: Tensor) -> Tensor:
        """What the relevance of an output ``z`` is multiplied by."""
        return stable_inverse(z, self.epsilon)


class ConservingSum(Rule):
    """Sums: :class:`Ratio`, scaled so that the parts of each sample sum to its relevance.

    Let A and B be the sums of the two parts and r the sum of the relevance. The first
    part is multiplied by ``sign(A) r / (|A| + |B|)`` and the second by ``sign(B) r /
    (|A| + |B|)``.

    Source: Chefer et al., 2021, eqs. 8 and 9; the code sums over the whole batch and is
    right for one image only.
    """

    def __call__(self, layer: Any, *inputs: Tensor) -> Share:
        """See :class:`Rule`."""
        inverse = safe_inverse(type(layer).forward(layer, *inputs))

        def share(relevance: Tensor) -> tuple[Tensor | None, ...]:
            """Relevance of each summand; per image the parts sum to the whole."""
            quotient = relevance * inverse
            parts = [x * quotient for x in inputs]
            sums = [_sample_sum(part) for part in parts]
            whole = _sample_sum(relevance)
            size = torch.stack([s.abs() for s in sums]).sum(0)
            return tuple(
                part * (s.abs() * safe_inverse(size) * whole * safe_inverse(s))
                for part, s in zip(parts, sums, strict=True)
            )

        return share


def _sample_sum(x: Tensor) -> Tensor:
    return x.sum(dim=tuple(range(1, x.ndim)), keepdim=True)


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """Linear layers: positive contributions times alpha less negative ones times beta.

    ``beta = alpha - 1``; biases are left out. With ``joint`` the two kinds of positive
    contributions (x+ W+ and x- W-) share one denominator, which conserves relevance.
    Without ``joint`` each kind has its own denominator and passes on the whole
    relevance.

    Source: Bach et al., 2015, eq. 60; with ``joint`` as in layers_ours, without it as
    in layers_lrp of the code of Chefer et al., 2021.

    Args:
        alpha: 1 or more.
        joint: Whether the denominators are added up.
    """

    alpha: float = 1.0
    joint: bool = True

    def __call__(self, layer: Any, *inputs: Tensor) -> Share:
        """See :class:`Rule`."""
        (x,) = inputs
        signed = (x.clamp(min=0), x.clamp(max=0))
        signs = [(self.alpha, False)]
        if self.alpha != 1:
            signs.append((1 - self.alpha, True))
        flows = [(weight, self._flow(layer, signed, swap)) for weight, swap in signs]

        def share(relevance: Tensor) -> tuple[Tensor | None, ...]:
            """Relevance ``alpha`` of what excites less ``beta`` of what inhibits."""
            (first, flow), *rest = flows
            total = flow(relevance).mul_(first)
            for weight, flow in rest:
                total.add_(flow(relevance), alpha=weight)
            return (total,)

        return share

    def _flow(
        self, layer: Any, signed: tuple[Tensor, Tensor], swap: bool
    ) -> Callable[[Tensor], Tensor]:
        """Relevance along the positive contributions; the negative ones if swapped."""
        bounds = [dict(min=0), dict(max=0)]
        ways = list(zip(signed, reversed(bounds) if swap else bounds, strict=True))
        z = [affine(layer, x, layer.weight.clamp(**bound)) for x, bound in ways]
        sums = [z[0] + z[1]] if self.joint else z
        inverses = [safe_inverse(part) for part in sums]

        def flow(relevance: Tensor) -> Tensor:
            """Relevance by the contributions of one sign alone."""
            quotients = [relevance * inverse for inverse in inverses]
            total = torch.zeros_like(signed[0])
            for (x, bound), quotient in zip(ways, cycle(quotients), strict=False):
                weight = layer.weight.clamp(**bound)
                total.addcmul_(x, affine_transpose(layer, quotient, weight, x))
            return total

        return flow


@dataclass(frozen=True)
class Gamma(Rule):
    """Linear layers: contributions of the sign of the output count ``1 + gamma`` times.

    The bias takes its share. ``gamma`` 0 is :class:`Epsilon`.

    Source: Montavon et al., Layer-wise Relevance Propagation: An Overview, 2019,
    sec. 10.2.3, extended to inputs and outputs of both signs.

    Args:
        gamma: >= 0.
        epsilon: Stabiliser of the denominator.
    """

    gamma: float = 0.25
    epsilon: float = 1e-6

    def __call__(self, layer: Any, *inputs: Tensor) -> Share:
        """See :class:`Rule`."""
        (x,) = inputs
        positive, negative = x.clamp(min=0), x.clamp(max=0)
        bias = layer.bias if layer.bias is not None else x.new_zeros(())
        z = affine(layer, x, layer.weight, layer.bias)
        up, down = (self._weight(layer, min=0), self._weight(layer, max=0))
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            bias = bias[:, None, None]
        rising = affine(layer, positive, up) + affine(layer, negative, down)
        falling = affine(layer, positive, down) + affine(layer, negative, up)
        mask = z > 0
        extra = torch.where(
            mask, rising + bias.clamp(min=0), falling + bias.clamp(max=0)
        )
        inverse = stable_inverse(z + self.gamma * extra, self.epsilon)

        def share(relevance: Tensor) -> tuple[Tensor | None, ...]:
            """Relevance of the input, with contributions of the favoured sign enlarged."""
            s = relevance * inverse
            on, off = s * mask * self.gamma, s * ~mask * self.gamma

            def back(value: Tensor, weight: Tensor) -> Tensor:
                """A value at the output carried back through ``weight``."""
                return affine_transpose(layer, value, weight, x)

            return (
                x * back(s, layer.weight)
                + positive * (back(on, up) + back(off, down))
                + negative * (back(on, down) + back(off, up)),
            )

        return share

    @staticmethod
    def _weight(layer: Any, **bound: float) -> Tensor:
        return layer.weight.clamp(**bound)


class ZBox(Rule):
    """The rule of the layer that reads the image, whose inputs lie in a known range.

    The bounds of the range are the minimum and maximum of each image over its channels
    and pixels.

    Source: Montavon et al., Explaining Nonlinear Classification Decisions with Deep
    Taylor Decomposition, 2017, sec. 3.2 (z^B rule).
    """

    def __call__(self, layer: Any, *inputs: Tensor) -> Share:
        """See :class:`Rule`."""
        (x,) = inputs
        up, down = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
        low = x.amin((1, 2, 3), keepdim=True)
        high = x.amax((1, 2, 3), keepdim=True)
        terms = [(x, layer.weight)]
        terms += [(-low.expand_as(x), up), (-high.expand_as(x), down)]
        z = sum(affine(layer, value, weight) for value, weight in terms) + 1e-9

        def share(relevance: Tensor) -> tuple[Tensor | None, ...]:
            """Relevance of the input, from its distances to the bounds of the box."""
            s = relevance / z
            parts = [v * affine_transpose(layer, s, w, x) for v, w in terms]
            return (parts[0] + parts[1] + parts[2],)

        return share


class BatchNormRatio(Rule):
    """Batch norm in evaluation mode: each entry in proportion to its own share.

    ``R_i = x_i s_i (R / z)`` with ``s`` the weight over the root of the *squared*
    running variance plus eps, and ``z = x s``, as the code of Chefer et al., 2021, has
    it.
    """

    def __call__(self, layer: Any, *inputs: Tensor) -> Share:
        """See :class:`Rule`."""
        (x,) = inputs
        deviation = (layer.running_var.square() + layer.eps).sqrt()
        slope = (layer.weight / deviation)[:, None, None]
        share = x * slope * safe_inverse(x * slope)
        return lambda relevance: (relevance * share,)


class SoftmaxTaylor(Rule):
    """Softmax by its Taylor expansion at the input: ``R_i = x_i (R_i - s_i sum_j R_j)``.

    ``s`` is the output and ``x`` the scaled input of :class:`lrp.Softmax`.

    Source: Achtibat et al., AttnLRP, 2024, proposition 3.1 (eq. 13).
    """

    def __call__(self, layer: Any, *inputs: Tensor) -> Share:
        """See :class:`Rule`."""
        (products,) = inputs
        x = products * layer.scale
        s = x.softmax(-1)
        return lambda r: (x * (r - s * r.sum(-1, keepdim=True)),)


class ToLast(Rule):
    """Gives all relevance to the last input and treats the other inputs as constants.

    Applied to the product of attention and values, the attention weights receive no
    relevance.

    Source: Ali et al., XAI for Transformers: Better Explanations through Conservative
    Propagation, 2022, the AH-rule (CP-LRP), with :class:`Epsilon`'s division.

    Args:
        rule: Shares the relevance among all inputs.
    """

    def __init__(self, rule: Rule | None = None) -> None:
        self.rule = rule or Epsilon()

    def __call__(self, layer: Any, *inputs: Tensor) -> Share:
        """See :class:`Rule`."""
        share = self.rule(layer, *inputs)

        def last(*relevance: Tensor) -> tuple[Tensor | None, ...]:
            """Relevance of the last input; the others get none."""
            return (*[None] * (len(inputs) - 1), share(*relevance)[-1])

        return last
