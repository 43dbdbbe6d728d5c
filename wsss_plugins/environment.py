"""Whether the packages installed around this one can work together.

Only the metadata of what is installed is read, so that the answer comes before
an import of torch, mmengine or mmcv can fail.
"""

from __future__ import annotations

from importlib import metadata

from packaging.requirements import Requirement

from wsss_plugins.errors import UserError

# Stock OpenMMLab package: the maintained build that writes the same modules.
MAINTAINED = {
    'mmcv': 'onedl-mmcv',
    'mmcv-full': 'onedl-mmcv',
    'mmcv-lite': 'onedl-mmcv',
    'mmengine': 'onedl-mmengine',
    'mmengine-lite': 'onedl-mmengine',
    'mmsegmentation': 'onedl-mmsegmentation',
}


def check_environment() -> None:
    """Refuses packages that are missing or do not fit together.

    Raises:
        UserError: A stock OpenMMLab package is installed, a maintained one is
            missing, or torchvision was built for another torch. The message
            ends with the command that mends it.
    """
    _refuse_stock_packages()
    missing = [p for p in sorted(set(MAINTAINED.values())) if _version(p) is None]
    if missing:
        names = ' '.join(missing)
        raise UserError(f'{names} not installed: run `pip install {names}`')
    _refuse_foreign_torchvision()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _refuse_stock_packages() -> None:
    stock = [package for package in MAINTAINED if _version(package) is not None]
    if stock:
        maintained = ' '.join(sorted({MAINTAINED[package] for package in stock}))
        names = ' '.join(stock)
        raise UserError(
            f'{names} must not be installed: {maintained} provides the same modules. '
            f'Run `pip uninstall -y {names} {maintained} && pip install {maintained}`'
        )


def _refuse_foreign_torchvision() -> None:
    torch, torchvision = _version('torch'), _version('torchvision')
    if torch is None or torchvision is None:
        raise UserError(
            'torch or torchvision not installed: run `pip install torch torchvision`'
        )
    for line in metadata.requires('torchvision') or []:
        needed = Requirement(line)
        if needed.name == 'torch' and not needed.specifier.contains(
            torch, prereleases=True
        ):
            raise UserError(
                f'torchvision {torchvision} is built for torch{needed.specifier}, but '
                f'torch {torch} is installed: run '
                f'`pip install --upgrade torchvision torch=={torch.split("+")[0]}`'
            )
