"""Weakly-supervised semantic segmentation as plug-ins on OpenMMLab.

Importing this package registers nothing and has no side effects; importing a
sub-package (``wsss_plugins.seeds``, ``wsss_plugins.refiners`` ...) registers
the plug-ins it holds.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

__version__ = '0.1.0'


def __getattr__(name: str) -> ModuleType:
    """A sub-package, imported when it is first named, such as ``wsss_plugins.seeds``.

    mmengine asks for it in this way where a config says ``from wsss_plugins import seeds``.

    Raises:
        AttributeError: There is no sub-package or module of that name.
    """
    if name.startswith('_') or find_spec(f'{__name__}.{name}') is None:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return import_module(f'{__name__}.{name}')
