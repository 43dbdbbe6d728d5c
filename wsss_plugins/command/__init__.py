"""The command ``wsss`` and its sub-commands, which the scripts in ``tools/`` call too."""
