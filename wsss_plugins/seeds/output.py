"""What a seed head may return: the checks that all maps pass."""

from __future__ import annotations

from torch import Tensor

from wsss_plugins.errors import PlugInError


def check_shape(
    who: str, maps: object, leading: tuple[int, int], names: str, grid: tuple[int, int]
) -> Tensor:
    """Refuses what is no stack of maps on the patch grid or finer.

    Args:
        who: The method that returned the maps, as ``MyHead.class_maps``.
        maps: What it returned.
        leading: The two numbers that its shape must begin with.
        names: The contract's letters for these two, such as ``'N, C'``.
        grid: Rows and columns of the patches.

    Returns:
        The maps, which are ``(*leading, h, w)``.

    Raises:
        PlugInError: ``maps`` is anything else; the message says what, and what is allowed.
    """
    rows, columns = grid
    allowed = (
        f'allowed is a tensor ({names}, h, w), here ({leading[0]}, {leading[1]}, h, w) '
        f'with h >= {rows} and w >= {columns}, the patch grid or finer'
    )
    if not isinstance(maps, Tensor):
        raise PlugInError(f'{who} returned {type(maps).__name__}: {allowed}')
    shape = tuple(maps.shape)
    if len(shape) != 4 or shape[:2] != leading or shape[2] < rows or shape[3] < columns:
        raise PlugInError(f'{who} returned a tensor of shape {shape}: {allowed}')
    return maps


def check_finite(who: str, maps: Tensor) -> None:
    """Refuses maps ``(N, C, h, w)`` with a value that is NaN or infinite.

    Raises:
        PlugInError: There is one.
    """
    if not (maps.amin((2, 3)).isfinite() & maps.amax((2, 3)).isfinite()).all():
        raise PlugInError(
            f'{who} returned NaN or infinite values: allowed are finite numbers; look for '
            'a division by zero, a logarithm or a root of what may be 0'
        )


def check_maps(who: str, maps: object, labels: Tensor) -> None:
    """Refuses maps that the stages behind a seed head cannot take.

    Args:
        who: The head that returned the maps.
        maps: To be ``(N, C, h, w)``, finite and >= 0, and 0 for absent classes.
        labels: ``(N, C)`` in {0, 1}.

    Raises:
        PlugInError: ``maps`` is anything else; the message says what, and what is allowed.
    """
    images, classes = labels.shape
    maps = check_shape(who, maps, (images, classes), 'N, C', (1, 1))
    check_finite(who, maps)
    if (maps.amin((2, 3)) < 0).any():
        raise PlugInError(
            f'{who} returned values down to {float(maps.min()):.3g}: allowed are values '
            '>= 0; override class_maps and not forward, and they are clamped'
        )
    if ((maps.amax((2, 3)) > 0) & (labels == 0)).any():
        raise PlugInError(
            f'{who} returned maps of classes that the labels do not have: absent classes '
            'must be exactly 0; override class_maps and not forward, and they are'
        )
