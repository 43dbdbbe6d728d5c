"""Checks of the maps that a seed head returns."""

from __future__ import annotations

from torch import Tensor

from wsss_plugins.errors import PlugInError


def check_shape(
    who: str, maps: object, leading: tuple[int, int], names: str, grid: tuple[int, int]
) -> Tensor:
    """Refuses a return value that is not a tensor of maps on the patch grid or finer.

    Args:
        who: Name of the method that returned the maps, such as ``MyHead.class_maps``.
        maps: The return value.
        leading: The first two dimensions that ``maps`` must have.
        names: Names of these two dimensions for the message, such as ``'N, C'``.
        grid: Rows and columns of the patches.

    Returns:
        The maps, which are ``(*leading, h, w)``.

    Raises:
        PlugInError: ``maps`` is not a tensor, its shape does not begin with ``leading``,
            or its height or width is smaller than the patch grid.
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
        PlugInError: ``maps`` holds a NaN or an infinite value.
    """
    if not (maps.amin((2, 3)).isfinite() & maps.amax((2, 3)).isfinite()).all():
        raise PlugInError(
            f'{who} returned NaN or infinite values: allowed are finite numbers; look for '
            'a division by zero, a logarithm or a root of what may be 0'
        )


def check_maps(who: str, maps: object, labels: Tensor) -> None:
    """Refuses maps that break the contract on which later stages rely.

    Args:
        who: Name of the head that returned the maps.
        maps: Must be ``(N, C, h, w)``, finite, >= 0, and exactly 0 for absent classes.
        labels: ``(N, C)`` in {0, 1}, the image-level labels.

    Raises:
        PlugInError: ``maps`` is not a tensor ``(N, C, h, w)``, has a value that is NaN,
            infinite or negative, or is not 0 for an absent class.
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
