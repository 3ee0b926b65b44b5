"""Arithmetic that comes out the same, to the last bit, wherever it is done.

Every processor rounds the sum, product, quotient or root of two numbers alike. Libraries
differ in the order in which they add up a matrix product, and in the last digit of
exponentials, logarithms and of the random numbers that are made with their help.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_HALVINGS = 10


def on_grid(values: npt.ArrayLike, bits: int) -> Floats:
    """Round to multiples of 2**-bits.

    What differed in its last digit is then the same, but for one number in many millions.
    A matrix product of multiples of 2**-a and of 2**-b is exact, in whatever order it is
    added up, as long as its sums stay below 2**(53 - a - b).
    """
    scale = 2.0**bits
    return np.asarray(np.round(np.asarray(values, dtype=np.float64) * scale) / scale)


def exp(values: Floats) -> Floats:
    """Return e to the power of values from -80 to 80; the relative error is below 1e-6.

    Between -20 and 20 it is below 1e-10.
    """
    small = values * 2.0**-_HALVINGS
    result = small / 120 + 1 / 24
    for coefficient in (1 / 6, 1 / 2, 1.0, 1.0):
        result *= small
        result += coefficient
    for _ in range(_HALVINGS):
        result *= result
    return result
