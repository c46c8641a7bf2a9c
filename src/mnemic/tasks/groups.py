"""Small groups as tables: cyclic, symmetric and alternating ones, and their direct products.

Legend: n elements.
"""

import math
import re
from functools import cache
from itertools import permutations

import numpy as np

from mnemic.errors import UsageError
from mnemic.tasks.base import IntArray

__all__ = ["LARGEST", "composition", "element_name", "order"]

LARGEST = 1024
_FACTOR = re.compile(r"(Z|S|A)([1-9]\d*)")


def order(group: str) -> int:
    """How many elements a group has, from its name, without building it.

    Raises:
        UsageError: it is no name such as Z60, S5, A5 or A4xZ5, or has more than `LARGEST` elements.
    """
    size = math.prod(_order_of(kind, n) for kind, n in _factors(group))
    if not 2 <= size <= LARGEST:
        raise UsageError(f"group={group} has {size} elements; from 2 to {LARGEST} are supported")
    return size


@cache
def composition(group: str) -> IntArray:
    """[n, n] the product a·b of elements by number; 0 is the identity.

    Elements of Zn are the residues and add up. Those of Sn and An are the permutations of 0 … n - 1 in lexicographic
    order, for An only the even ones, and (a·b)(i) = a(b(i)): b acts first. In a product the last factor counts fastest.
    """
    order(group)
    table = np.zeros((1, 1), dtype=np.int64)
    for kind, n in _factors(group):
        factor = np.add.outer(np.arange(n), np.arange(n)) % n if kind == "Z" else _permuted(_elements(kind, n))
        size = len(table) * len(factor)
        table = (table[:, None, :, None] * len(factor) + factor[None, :, None, :]).reshape(size, size)
    table.setflags(write=False)
    return table


def element_name(group: str, element: int) -> str:
    """Residues as they are, permutations by their images: 2, 10342, (0132,3)."""
    names = []
    for kind, n in reversed(_factors(group)):
        element, which = divmod(element, _order_of(kind, n))
        names.append(str(which) if kind == "Z" else "".join(map(str, _elements(kind, n)[which].tolist())))
    return names[0] if len(names) == 1 else f"({','.join(reversed(names))})"


def _factors(group: str) -> list[tuple[str, int]]:
    found = []
    for part in group.replace("×", "x").split("x"):
        factor = _FACTOR.fullmatch(part)
        if factor is None:
            raise UsageError(f"group={group}: '{part}' is no group; write Z60, S5, A5, or a product such as A4xZ5")
        kind, n = factor[1], int(factor[2])
        if kind != "Z" and n > 6:
            raise UsageError(f"group={group}: {part} is too large; S and A go up to 6")
        found.append((kind, n))
    return found


def _order_of(kind: str, n: int) -> int:
    return n if kind == "Z" else math.factorial(n) if kind == "S" else max(1, math.factorial(n) // 2)


@cache
def _elements(kind: str, n: int) -> IntArray:
    """[n!, n] or [n!/2, n] permutations in lexicographic order."""
    every = np.array(list(permutations(range(n))))
    if kind == "S":
        return every
    inversions = sum((every[:, i] > every[:, j]).astype(np.int64) for i in range(n) for j in range(i + 1, n))
    return np.asarray(every[np.broadcast_to(inversions, len(every)) % 2 == 0])


def _permuted(elements: IntArray) -> IntArray:
    n = elements.shape[1]
    digits = n ** np.arange(n - 1, -1, -1)
    codes = elements @ digits  # ascending, for the order is lexicographic
    return np.searchsorted(codes, elements[:, elements] @ digits)
