"""``python -m wsss_plugins.command`` is the command ``wsss``."""

from wsss_plugins.command.main import main

if __name__ == '__main__':
    main()
