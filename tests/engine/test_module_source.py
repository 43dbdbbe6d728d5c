"""What of a module's source counts, and what does not."""

from __future__ import annotations

import pytest

from wsss_plugins.engine.module_source import read_source

BASE = '''
"""What it is."""
from __future__ import annotations
from typing import TYPE_CHECKING
import math
import numpy as np
from . import near
from ..far import thing as other
from plain.names import *

if TYPE_CHECKING:
    from typing import Any

FACTOR = 2
"""A number."""


class Head:
    """A head."""

    needs: bool = True

    def maps(self, x: float) -> float:
        """Returns them."""
        if x < 0:
            raise ValueError(f'{x} is below 0', x)
        return FACTOR * math.sqrt(x)


def helper(x: float) -> float:
    import json  # late

    return x + 1 if json else x
'''


def changed(old: str, new: str) -> list[str]:
    """The names whose digests differ when ``old`` is replaced."""
    assert BASE.count(old) == 1
    before = read_source(BASE, 'outer.inner').digests
    after = read_source(BASE.replace(old, new), 'outer.inner').digests
    return sorted(n for n in {*before, *after} if before.get(n) != after.get(n))


@pytest.mark.parametrize(
    'old, new',
    [
        ('"""What it is."""', '# nothing'),
        ('"""A head."""', ''),
        ('"""Returns them."""', '"""Returns\n\n        all of them."""'),
        ('"""A number."""', '# of sides'),
        ('  # late', ''),
        ('FACTOR * math.sqrt(x)', '(FACTOR*\n            math.sqrt( x ))'),
        ("f'{x} is below 0', x", "f'{x} must be 0 or more'"),
        ('import math\nimport numpy as np', 'import numpy as np\nimport math'),
        ('import numpy as np\n', 'import numpy as np\nimport numpy as np\n'),
        ('    from typing import Any', '    from typing import Any, Union'),
        ('return x + 1 if json else x', 'return (x + 1) if json else x'),
    ],
)
def test_what_does_not_count(old: str, new: str) -> None:
    assert changed(old, new) == []


@pytest.mark.parametrize(
    'old, new, names',
    [
        ('FACTOR = 2', 'FACTOR = 3', ['']),
        ('FACTOR = 2', 'FACTOR = 2.0', ['']),
        ('import numpy as np', 'import torch as np', ['']),
        ('FACTOR * math', 'FACTOR + math', ['Head']),
        ('raise ValueError', 'raise KeyError', ['Head']),
        ('needs: bool = True', 'needs: bool = False', ['Head']),
        ('if x < 0', 'if x <= 0', ['Head']),
        ('x + 1', 'x - 1', ['helper']),
        ('def helper', 'def helped', ['helped', 'helper']),
    ],
)
def test_what_counts(old: str, new: str, names: list[str]) -> None:
    assert changed(old, new) == names


def test_the_order_of_definitions_does_not_count() -> None:
    head, helper = BASE.index('class Head'), BASE.index('def helper')
    turned = f'{BASE[:head]}{BASE[helper:]}\n\n{BASE[head:helper]}'
    assert (
        read_source(turned, 'outer.inner').digest
        == read_source(BASE, 'outer.inner').digest
    )


def test_imports_anywhere_with_relative_names_resolved() -> None:
    source = read_source(BASE, 'outer.inner')
    assert set(source.imports) == {
        ('__future__', 'annotations'),
        ('typing', 'TYPE_CHECKING'),
        ('math', None),
        ('numpy', None),
        ('outer.inner', 'near'),
        ('outer.far', 'thing'),
        ('plain.names', '*'),
        ('json', None),
    }
    assert source.exported['other'] == ('outer.far', 'thing')
    assert '*' not in source.exported and 'np' not in source.exported
