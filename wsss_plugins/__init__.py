"""Weakly-supervised semantic segmentation as plug-ins on OpenMMLab.

Importing this package registers nothing and has no side effects; importing a
sub-package (``wsss_plugins.seeds``, ``wsss_plugins.refiners`` ...) registers
the plug-ins it holds.
"""

__version__ = '0.1.0'
