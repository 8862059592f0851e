"""Prints reference values of the transcendental functions in double precision, computed by mpmath.

    python3 reference.py 96 > reference.txt

The argument is the number of random points for each function. Each line holds a function, the bits of x, and the bits of two
doubles whose sum is the value to about 106 bits.
"""

import random
import struct
import sys

from mpmath import mp, mpf

mp.prec = 400


def bits(x):
    return format(struct.unpack("<Q", struct.pack("<d", x))[0], "016x")


FUNCTIONS = {
    "exp": mp.exp,
    "log": mp.log,
    "log1p": lambda x: mp.log(1 + x),
    "tanh": mp.tanh,
    "erf": mp.erf,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "sin": mp.sin,
    "cos": mp.cos,
}
# Bounds of the random points, and borders at whose neighbours the definitions change.
RANGES = {
    "exp": (-745.0, 709.7),
    "log": (0.0, 1e9),
    "log1p": (-1.0, 1e9),
    "tanh": (-22.0, 22.0),
    "erf": (-6.2, 6.2),
    "sigmoid": (-740.0, 40.0),
    "sin": (-1e9, 1e9),
    "cos": (-1e9, 1e9),
}
BORDERS = {
    "exp": [0.0, 0.34657359027997264, 709.782712893384, -708.3964185322641, -745.1332191019411],
    "log": [1.0, 0.7071067811865476, 1.4142135623730951, 2.2250738585072014e-308, 1.7e308],
    "log1p": [0.0, -0.29289321881345254, 0.41421356237309503, -0.9999999999999999, 1.7e308],
    "tanh": [0.0, 0.5625, 19.06],
    "erf": [0.0, 1.0, 5.92],
    "sigmoid": [0.0, 36.7, -36.7, -708.4],
    "sin": [0.0, 0.7853981633974483, 1.5707963267948966, 3.141592653589793, 1e5, 710.0 * 3.141592653589793],
    "cos": [0.0, 0.7853981633974483, 1.5707963267948966, 3.141592653589793, 1e5, 710.5 * 3.141592653589793],
}


def neighbours(x):
    (n,) = struct.unpack("<q", struct.pack("<d", x))
    for d in (-2, -1, 0, 1, 2):
        if n + d >= 0:
            yield struct.unpack("<d", struct.pack("<q", n + d))[0]


def main():
    count = int(sys.argv[1])
    rng = random.Random(20)
    for name, function in FUNCTIONS.items():
        lo, hi = RANGES[name]
        points = [y for x in BORDERS[name] for y in neighbours(x)]
        points += [-x for x in points if lo < -x]
        for i in range(count):
            # Uniform in the range, near zero, and with magnitudes of all sizes.
            x = rng.uniform(lo, hi)
            if i % 3 == 1:
                x = max(rng.uniform(-4.0, 4.0), lo) if lo < 0 else rng.uniform(0.2, 4.0)
            if i % 3 == 2:
                x = rng.uniform(1.0, 2.0) * 2.0 ** rng.randint(-40, 9)
                x = -x if lo < -x and rng.random() < 0.5 else x
            points.append(x)
        for x in points:
            if name == "log" and x <= 0.0 or name == "log1p" and x <= -1.0:
                continue
            value = function(mpf(x))
            high = float(value)
            low = float(value - mpf(high)) if abs(high) < 1.8e308 else 0.0
            if x == 0.0 and high == 0.0:
                high = x
            print(name, bits(x), bits(high), bits(low))


main()
