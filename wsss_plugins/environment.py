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
    for problem in package_problems():
        raise UserError(problem)


def package_problems() -> list[str]:
    """Problems of the installed packages, the most serious first.

    Returns:
        Lines that end with the command that mends them; none when all is well.
    """
    found = [_stock_packages(), _missing_packages(), _foreign_torchvision()]
    return [problem for problem in found if problem is not None]


def installed_versions() -> dict[str, str | None]:
    """Versions of what this package is built on, None where it is not installed."""
    names = ('torch', 'torchvision', 'timm', *sorted(set(MAINTAINED.values())))
    return {
        name: _version(name) for name in (*names, 'numpy', 'opencv-python', 'Pillow')
    }


def unmet_requirements(package: str = 'wsss_plugins') -> list[str]:
    """Requirements of an installed package that are missing or of another version.

    Args:
        package: The package, in its plain form without extras.

    Returns:
        Lines such as 'timm 0.9 is installed, timm>=1.0 is needed: run `...`'; none for a
        package that is not installed itself, such as one on PYTHONPATH.
    """
    try:
        lines = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return []
    problems = []
    for line in lines:
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({'extra': ''}):
            continue
        version = _version(needed.name)
        if version is None or not needed.specifier.contains(version, prereleases=True):
            there = f'{needed.name} {version} is' if version else 'none is'
            wanted = f'{needed.name}{needed.specifier}'
            problems.append(
                f'{wanted} is needed, but {there} installed: run `pip install "{wanted}"`'
            )
    return problems


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _missing_packages() -> str | None:
    missing = [p for p in sorted(set(MAINTAINED.values())) if _version(p) is None]
    names = ' '.join(missing)
    return f'{names} not installed: run `pip install {names}`' if missing else None


def _stock_packages() -> str | None:
    stock = [package for package in MAINTAINED if _version(package) is not None]
    if not stock:
        return None
    maintained = ' '.join(sorted({MAINTAINED[package] for package in stock}))
    names = ' '.join(stock)
    return (
        f'{names} must not be installed: {maintained} provides the same modules. '
        f'Run `pip uninstall -y {names} {maintained} && pip install {maintained}`'
    )


def _foreign_torchvision() -> str | None:
    torch, torchvision = _version('torch'), _version('torchvision')
    if torch is None or torchvision is None:
        return 'torch or torchvision not installed: run `pip install torch torchvision`'
    for line in metadata.requires('torchvision') or []:
        needed = Requirement(line)
        if needed.name == 'torch' and not needed.specifier.contains(
            torch, prereleases=True
        ):
            return (
                f'torchvision {torchvision} is built for torch{needed.specifier}, but '
                f'torch {torch} is installed: run '
                f'`pip install --upgrade torchvision torch=={torch.split("+")[0]}`'
            )
    return None
