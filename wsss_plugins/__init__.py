"""Weakly-supervised semantic segmentation as plug-ins on OpenMMLab.

Importing this package registers nothing and has no side effects; importing a
sub-package (``wsss_plugins.seeds``, ``wsss_plugins.refiners`` ...) registers
the plug-ins it holds.
"""

__version__ = '0.2.0'


def __getattr__(name: str) -> object:
    """A sub-package, imported when it is first named, such as ``wsss_plugins.seeds``.

    mmengine asks for it in this way where a config says ``from wsss_plugins import seeds``.

    Raises:
        AttributeError: There is no sub-package or module of that name.
    """
    from importlib import import_module  # here: importing the package loads nothing

    path = f'{__name__}.{name}'
    try:
        return import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:  # the sub-package is there, what it imports is not
            raise
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
