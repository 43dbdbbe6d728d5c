"""Lets this environment use the packages of another one: borrow_packages.py PYTHON.

Nothing is copied: a .pth file puts the folder in which the other one has torch on the
search path, behind the packages of this environment.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

ASK = """
import importlib.util, pathlib, sys
torch = importlib.util.find_spec('torch')
print('%d.%d' % sys.version_info[:2])
print(pathlib.Path(torch.origin).parents[1] if torch else '')
"""


def main() -> None:
    """Writes the file, or says why it cannot be."""
    (other,) = sys.argv[1:]
    said = subprocess.check_output([other, '-c', ASK], text=True)
    version, folder = said.split('\n')[:2]
    own = f'{sys.version_info[0]}.{sys.version_info[1]}'
    if version != own:
        sys.exit(
            f'error: {other} is Python {version} and this environment is Python {own}: '
            'their packages do not fit; give make the same Python with PYTHON='
        )
    if not folder:
        sys.exit(
            f'error: {other} has no torch: name the Python of an environment with it'
        )
    file = Path(sysconfig.get_path('purelib')) / 'borrowed.pth'
    file.write_text(f'{folder}\n', 'utf-8')
    sys.stdout.write(f'Packages of {folder} are used where this environment has none\n')


if __name__ == '__main__':
    main()
