"""Installs wsss_plugins; tool settings live in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """Requirements named in ``requirements/<name>.txt``, without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text('utf-8').splitlines()
    stripped = (re.sub(r'(^|\s)#.*', '', line).strip() for line in lines)
    return [line for line in stripped if line]


def version() -> str:
    """The version that the package states, read without importing it."""
    text = (ROOT / 'wsss_plugins' / '__init__.py').read_text('utf-8')
    found = re.search(r"^__version__ = '([^']+)'$", text, re.MULTILINE)
    if found is None:
        raise RuntimeError('wsss_plugins/__init__.py states no __version__')
    return found.group(1)


setup(
    name='wsss_plugins',
    version=version(),
    description='Weakly-supervised semantic segmentation as plug-ins on OpenMMLab',
    author='The wsss_plugins authors',
    license='Apache-2.0',
    license_files=['LICENSE', 'NOTICE'],
    packages=find_packages(include=['wsss_plugins*']),
    package_data={
        'wsss_plugins': [
            'py.typed',
            'pretrained/*',
            'pretrained/*/*',
            'configs/**/*.py',
        ],
        'wsss_plugins.command': ['project/*', 'project/*/*'],
        'wsss_plugins.board': ['*.js'],
        'wsss_plugins.engine': ['revisions.json'],
        'wsss_plugins.report': ['*.html', '*.css'],
    },
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require={
        name: requirements(name)
        for name in ('completion', 'optional', 'real', 'tests', 'docs')
    },
    entry_points={'console_scripts': ['wsss = wsss_plugins.command.main:main']},
    classifiers=[
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3 :: Only',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
)
