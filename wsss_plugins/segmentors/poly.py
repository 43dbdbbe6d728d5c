"""The polynomial schedule of IRN, AFA and ToCo, with or without a warm-up."""

from __future__ import annotations

from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmUpPolyLR(LRSchedulerMixin, _ParamScheduler):
    """The rate rises in a straight line, and then is ``(1 - t / T) ** power`` of the full one.

    t counts from the beginning, not from the end of the warm-up, so that the rate drops a
    little where the warm-up ends. The last of T iterations has the rate of t = T - 1, and
    not 0 as mmengine's ``PolyLR``.

    Source: the released optimisers of Ahn et al. (IRN), CVPR 2019, power 0.9 without a
    warm-up; Ru et al. (AFA), CVPR 2022, power 1 with 1,500 iterations; Ru et al. (ToCo),
    CVPR 2023, power 0.9 with 1,500.

    Args:
        optimizer: The optimiser; mmengine fills it in.
        power: The exponent, >= 0.
        warm_up: Iterations of the warm-up, >= 0; a float is a share of all iterations.
        ratio: Factor of the rate in the first iteration of the warm-up, in (0, 1].
        begin: First iteration.
        end: The iteration after the last one, which T follows from; ``1.0`` stands for the
            whole training.
        by_epoch: Must be False: the rate changes at every iteration.
        kwargs: ``last_step`` and ``verbose`` of mmengine's schedules.

    Raises:
        ConfigError: A number is out of range, or ``by_epoch`` is True.
    """

    def __init__(
        self,
        optimizer: Any,
        power: float = 0.9,
        warm_up: int | float = 0,
        ratio: float = 1e-6,
        begin: int | float = 0,
        end: int | float = 10**9,
        by_epoch: bool = False,
        **kwargs: Any,
    ) -> None:
        if by_epoch or not (power >= 0 and warm_up >= 0 and 0 < ratio <= 1):
            raise ConfigError(
                'WarmUpPolyLR needs by_epoch=False, power and warm_up >= 0 and ratio in '
                f'(0, 1], not {by_epoch}, {power}, {warm_up} and {ratio}',
                token='warm_up',
            )
        self.power, self.ratio, self.total = power, ratio, end - begin
        share = isinstance(warm_up, float)
        self.warm_up = warm_up * self.total if share else warm_up
        super().__init__(optimizer, begin=begin, end=end, by_epoch=by_epoch, **kwargs)

    def factor(self, step: int) -> float:
        """Factor of the rate in iteration ``step``, counted from 0."""
        if step < self.warm_up:
            return 1 - (1 - step / self.warm_up) * (1 - self.ratio)
        return (1 - step / self.total) ** self.power

    def _get_value(self) -> list[float]:
        """The rate of each group in the current iteration."""
        factor = self.factor(self.last_step)
        return [base * factor for base in self.base_values]
