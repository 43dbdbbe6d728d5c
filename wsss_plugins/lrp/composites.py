"""Composites assign a rule to each type of layer and apply the rules in a `with`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from timm.layers import (
    DropPath,
    GELUTanh,
    LayerScale,
    PatchDropout,
    QuickGELU,
    RmsNorm,
    RmsNormFp32,
    SimpleNorm,
    SimpleNormFp32,
)
from timm.layers import activations as timm_activations
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.lrp.operators import (
    Add,
    AttentionValue,
    Fork,
    LatentKey,
    Mean,
    Product,
    QueryKey,
    Rotate,
    Scale,
    Select,
    Softmax,
)
from wsss_plugins.lrp.rules import (
    AlphaBeta,
    BatchNormRatio,
    ConservingSum,
    Epsilon,
    Gamma,
    Identity,
    Ratio,
    Rule,
    SoftmaxTaylor,
    ToLast,
    Uniform,
    ZBox,
)

Rules = Mapping[type[nn.Module], Rule]


@dataclass(frozen=True)
class Composite:
    """A rule for every type of layer.

    Calling a composite with modules returns a context manager. Inside of it a backward
    pass from an output of these modules propagates relevance instead of gradients. Only
    these modules are changed, and they are restored on exit, also after an exception::

        with composite('chefer')(model):
            scores = model(images.requires_grad_())
            (relevance,) = torch.autograd.grad(scores[0, 3], images)

    Args:
        rules: Layer type to rule. A layer gets the rule of the nearest type in its
            class hierarchy.
        image: Rule of convolutions of three input channels, which read the image; by
            default the rule of all convolutions.
    """

    rules: Rules
    image: Rule | None = None

    def rule_of(self, layer: nn.Module) -> Rule | None:
        """The rule of a layer, or None."""
        if self.image and isinstance(layer, nn.Conv2d) and layer.in_channels == 3:
            return self.image
        found = (self.rules[kind] for kind in type(layer).mro() if kind in self.rules)
        return next(found, None)

    @contextmanager
    def __call__(self, *modules: nn.Module) -> Iterator[None]:
        """Applies the rules to the layers of ``modules`` until the `with` ends.

        Raises:
            ConfigError: The composite has no rule for the type of a layer.
        """
        layers = {layer for module in modules for layer in module.modules()}
        with ExitStack() as stack:
            for layer in layers:
                rule = self.rule_of(layer)
                if rule is not None:
                    stack.enter_context(_propagating(layer, rule))
                elif not any(layer.children()):
                    raise ConfigError(
                        f'the composite has no rule for layers of type '
                        f'{type(layer).__name__}: add one to its rules',
                        token=type(layer).__name__,
                    )
            yield


_TOUCHED = ('forward', 'inplace')  # a layer's input must outlive its output


@contextmanager
def _propagating(layer: nn.Module, rule: Rule) -> Iterator[None]:
    """Lets one layer carry relevance backwards."""
    before = {key: vars(layer)[key] for key in _TOUCHED if key in vars(layer)}
    call = partial(_Propagation.apply, rule, layer, layer.forward)
    vars(layer).update(dict.fromkeys(before, False), forward=call)
    try:
        yield
    finally:
        for key in _TOUCHED:
            vars(layer).pop(key, None)
        vars(layer).update(before)


class _Propagation(Function):
    """A layer whose backward pass is a rule."""

    @staticmethod
    def forward(
        ctx: Any,
        rule: Rule,
        layer: nn.Module,
        call: Callable[..., Any],
        *inputs: Tensor,
    ) -> Any:
        """The layer's own output; what the rule needs is kept for later."""
        ctx.rule, ctx.layer, ctx.share = rule, layer, None
        ctx.save_for_backward(*inputs)
        output = call(*inputs)
        if isinstance(output, tuple):
            return tuple(part.view_as(part) for part in output)
        return output.view_as(output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *relevance: Tensor) -> Any:
        """Relevance of the inputs from that of the outputs, by the rule."""
        if ctx.share is None:  # the first class prepares, the others share
            ctx.share = ctx.rule(ctx.layer, *ctx.saved_tensors)
        return None, None, None, *ctx.share(*relevance)


_PASSING: Rules = {
    kind: Identity()
    for kind in (
        *(nn.Identity, nn.Dropout, nn.LayerNorm),
        *(nn.ReLU, nn.GELU, timm_activations.GELU, GELUTanh, QuickGELU),
        *(nn.SiLU, nn.Sigmoid),
        *(RmsNorm, RmsNormFp32, SimpleNorm, SimpleNormFp32),
        *(DropPath, LayerScale, PatchDropout, Scale, Softmax),
    )
}
_RATIOS: Rules = {
    kind: Ratio()
    for kind in (Fork, Select, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
}
_CHEFER: Rules = {
    **_PASSING,
    **_RATIOS,
    QueryKey: Ratio(0.5),
    LatentKey: ToLast(Ratio()),  # its query is a constant, as a weight is
    AttentionValue: Ratio(0.5),
    Mean: Ratio(),
    Product: Uniform(),
    Rotate: ToLast(Ratio()),
    nn.BatchNorm2d: BatchNormRatio(),
    nn.Conv2d: AlphaBeta(joint=False),
}


def _signed(linear: Rule, inner: Rule) -> Rules:
    """Rules of sums of any sign, shared by the newer composites."""
    return {
        **_PASSING,
        **_RATIOS,
        nn.BatchNorm2d: Identity(),
        Fork: Identity(),
        Add: Epsilon(),
        QueryKey: Epsilon(0.5),
        LatentKey: ToLast(),
        AttentionValue: Epsilon(0.5),
        Mean: Epsilon(),
        Product: Uniform(),
        Rotate: ToLast(),
        nn.Linear: linear,
        nn.Conv2d: inner,
    }


COMPOSITES: Mapping[str, Composite] = MappingProxyType(
    {
        # Chefer et al., 2021: the rules of their own method ...
        'chefer': Composite(
            {**_CHEFER, nn.Linear: AlphaBeta(), Add: ConservingSum()}, image=ZBox()
        ),
        # ... and those of their baselines, full and partial LRP.
        'chefer_lrp': Composite(
            {**_CHEFER, nn.Linear: AlphaBeta(joint=False), Add: Ratio()}, image=ZBox()
        ),
        'epsilon': Composite(_signed(Epsilon(), Epsilon())),
        'gamma': Composite(_signed(Gamma(0.25), Gamma(0.25)), image=ZBox()),
        'alpha2_beta1': Composite(
            _signed(AlphaBeta(alpha=2), AlphaBeta(alpha=2)), image=ZBox()
        ),
        # Achtibat et al., 2024; their settings for ViT-B/16 as gamma.
        'attnlrp': Composite(
            {**_signed(Gamma(0.05), Gamma(0.25)), Softmax: SoftmaxTaylor()}
        ),
        # Ali et al., 2022, as Achtibat et al. compare with it.
        'cp_lrp': Composite(
            {
                **_signed(Gamma(0.05), Gamma(0.25)),
                AttentionValue: ToLast(),
                Product: ToLast(Identity()),  # a gate is constant as attention is
            }
        ),
    }
)
"""Published composites by name."""


def composite(given: str | Composite) -> Composite:
    """A composite by name, or the given one.

    Raises:
        ConfigError: No published composite has this name.
    """
    if isinstance(given, Composite):
        return given
    if given not in COMPOSITES:
        raise ConfigError(
            f"no composite is called '{given}': {near_names(given, COMPOSITES)}",
            token=given,
        )
    return COMPOSITES[given]
