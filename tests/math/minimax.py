"""Derives the polynomials of `compiler/ir/src/math/coefficients.rs` and prints that file.

    python3 minimax.py > ../../compiler/ir/src/math/coefficients.rs
    cargo fmt -p dlc-ir

Needs mpmath. Each polynomial minimises the largest weighted error on its interval by the exchange algorithm of
Remez (see Cheney, "Introduction to Approximation Theory", 1966, chapter 3). The weight makes the error relative to
the whole function. Coefficients are rounded to the target format; on intervals that start at zero this is done for
f32 one after another from the lowest, and the rest is fitted again after each rounding, so that a rounding error is
taken up by the coefficients that follow. (On other intervals the higher powers alone vanish inside and have no
unique best fit.)
"""

import sys

from mpmath import mp, mpf

mp.prec = 170


def to_single(x):
    """The nearest f32; correct because x is first rounded to odd in 64 bits of precision."""
    sign, man, exp, bc = x._mpf_
    if man == 0:
        return mpf(0)
    shift = bc - 24
    assert exp + shift > -149, "denormal coefficient"
    if shift > 0:
        low = man & ((1 << shift) - 1)
        man >>= shift
        half = 1 << (shift - 1)
        if low > half or (low == half and man & 1):
            man += 1
        exp += shift
    value = mp.ldexp(mpf(int(man)), int(exp))
    return -value if sign else value


def to_double(x):
    return mpf(float(x))


def solve(function, weight, basis, lo, hi):
    """Coefficients of the best weighted approximation of `function` by the functions of `basis`, and its error."""
    n = len(basis)
    mid, half = (lo + hi) / 2, (hi - lo) / 2
    points = [mid - half * mp.cos(mp.pi * i / n) for i in range(n + 1)]
    grid = [mid - half * mp.cos(mp.pi * i / (24 * n)) for i in range(24 * n + 1)]
    grid[0], grid[-1] = lo, hi
    values = [(x, function(x), weight(x), [b(x) for b in basis]) for x in grid]
    coefficients, error = None, None
    for _ in range(40):
        rows = mp.matrix(n + 1, n + 1)
        right = mp.matrix(n + 1, 1)
        for i, x in enumerate(points):
            w = weight(x)
            for j, b in enumerate(basis):
                rows[i, j] = w * b(x)
            rows[i, n] = (-1) ** i
            right[i] = w * function(x)
        solution = mp.lu_solve(rows, right)
        coefficients, level = [solution[j] for j in range(n)], abs(solution[n])

        def residual(at):
            return at[2] * (at[1] - sum(c * b for c, b in zip(coefficients, at[3])))

        errors = [residual(at) for at in values]
        # One extremum from each run of equal sign.
        extrema = []
        for i, e in enumerate(errors):
            if extrema and (errors[extrema[-1]] > 0) == (e > 0):
                if abs(e) > abs(errors[extrema[-1]]):
                    extrema[-1] = i
            else:
                extrema.append(i)
        while len(extrema) > n + 1:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        error = max(abs(e) for e in errors)
        if len(extrema) < n + 1 or error < level * mpf("1.02"):
            break
        points = [grid[i] for i in extrema]
    return coefficients, error


def fit(name, function, weight, lo, hi, n, rounding):
    """`n` coefficients in the target format, lowest power first."""
    if lo < 0 or rounding is to_double:
        coefficients, error = solve(function, weight, [lambda x, p=p: x**p for p in range(n)], lo, hi)
        print(f"{name}: {n} coefficients, error before rounding 2^{float(mp.log(error, 2)):.1f}", file=sys.stderr)
        return [rounding(c) for c in coefficients]
    fixed = []
    error = None
    for k in range(n):
        def rest(x):
            return function(x) - sum(c * x**i for i, c in enumerate(fixed))

        basis = [lambda x, p=p: x**p for p in range(k, n)]
        coefficients, error = solve(rest, weight, basis, lo, hi)
        fixed.append(rounding(coefficients[0]))
    print(f"{name}: {n} coefficients, error before the last rounding 2^{float(mp.log(error, 2)):.1f}", file=sys.stderr)
    return fixed


def series(coefficient, argument):
    """A power series summed to working precision; used where the closed form cancels."""
    total, k, term = mpf(0), 0, mpf(1)
    while k < 4 or abs(term) > mpf(2) ** -190:
        term = coefficient(k) * argument**k
        total += term
        k += 1
    return total


def exp_tail(r):
    """(exp(r) - 1 - r) / r^2."""
    return series(lambda k: 1 / mp.factorial(k + 2), r)


def log_tail(z):
    """(2 atanh(s) / s - 2) / s^2 with z = s^2."""
    return series(lambda k: mpf(2) / (2 * k + 3), z)


def tanh_tail(z):
    """(tanh(x) / x - 1) / x^2 with z = x^2."""
    if z == 0:
        return -mpf(1) / 3
    x = mp.sqrt(z)
    return (mp.tanh(x) / x - 1) / z


def sin_tail(z):
    """(sin(x) / x - 1) / x^2 with z = x^2."""
    return series(lambda k: (-1) ** (k + 1) / mp.factorial(2 * k + 3), z)


def cos_tail(z):
    """(cos(x) - 1 + x^2 / 2) / x^4 with z = x^2."""
    return series(lambda k: (-1) ** k / mp.factorial(2 * k + 4), z)


def erf_excess(z):
    """erf(x) / x - 1 with z = x^2."""
    return 2 / mp.sqrt(mp.pi) * series(lambda k: (-1) ** k / (mp.factorial(k) * (2 * k + 1)), z) - 1


def erf_weight(z):
    return mpf(1) / (1 + erf_excess(z))


def tables(rounding, single):
    """All constants and polynomials of a format: (name, documentation, values)."""
    ln2, root_half = mp.log(2), mp.sqrt(mpf(1) / 2)
    edge = ln2 / 2 * (1 + mpf(2) ** (-20))
    s_edge = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * (1 + mpf(2) ** (-20))
    tanh_edge = mpf(0.5625)
    # The tail is a series about 1, where its absolute error counts most: there the sum has no cancellation.
    erf_mid = mpf(1)
    erf_edge, erf_end = (mpf(0.875), mpf(4)) if single else (mpf(1), mpf(6))
    quarter = (mp.pi / 4) ** 2 * mpf("1.01")

    def split(value, parts):
        result = []
        for _ in range(parts):
            head = rounding(value)
            result.append(head)
            value -= head
        return result

    def tail_of_erf(u):
        return -mp.log(mp.erfc(u + erf_mid))

    def tail_weight(u):
        t = u + erf_mid
        return mp.erfc(t) / mp.erf(t)

    n_exp, n_log, n_tanh, n_erf, n_tail, n_sin, n_cos = (5, 3, 5, 7, 7, 3, 3) if single else (10, 7, 11, 12, 19, 6, 6)
    return [
        ("log2e", split(1 / ln2, 1)[0]),
        ("ln2", split(ln2, 2)),
        ("exp", fit("exp", exp_tail, lambda r: r * r / mp.exp(r) if r else mpf(0), -edge, edge, n_exp, rounding)),
        ("log", fit("log", log_tail, lambda z: z, mpf(0), s_edge, n_log, rounding)),
        ("tanh_edge", tanh_edge),
        ("tanh", fit("tanh", tanh_tail, lambda z: z / (1 + z * tanh_tail(z)), mpf(0), tanh_edge**2, n_tanh, rounding)),
        ("erf_edge", erf_edge),
        ("erf_end", erf_end),
        ("erf_mid", erf_mid),
        ("erf", fit("erf", erf_excess, erf_weight, mpf(0), erf_edge**2, n_erf, rounding)),
        ("erf_tail", fit("erf_tail", tail_of_erf, tail_weight, erf_edge - erf_mid, erf_end - erf_mid, n_tail, rounding)),
        ("two_over_pi", split(2 / mp.pi, 1)[0]),
        ("half_pi", split(mp.pi / 2, 3)),
        ("sin", fit("sin", sin_tail, lambda z: z, mpf(0), quarter, n_sin, rounding)),
        ("cos", fit("cos", cos_tail, lambda z: z * z, mpf(0), quarter, n_cos, rounding)),
    ]


def text(value, single):
    """The shortest decimal that reads back as the same value of the format."""
    if single:
        for digits in range(1, 12):
            short = mp.nstr(value, digits, strip_zeros=False)
            if to_single(mpf(short)) == value:
                value = mpf(short)
                break
    number = repr(float(value))
    if "e" in number and "." not in number.split("e")[0]:
        number = number.replace("e", ".0e")
    mantissa, _, exponent = number.partition("e")
    whole, _, fraction = mantissa.partition(".")
    # Digits in groups of three, as the lint on long literals wants them.
    def group(digits):
        return "_".join(digits[i:i + 3] for i in range(0, len(digits), 3))

    sign = "-" if whole.startswith("-") else ""
    whole = whole.lstrip("-")
    if len(whole) > 3:
        head = len(whole) % 3 or 3
        whole = "_".join([whole[:head]] + [whole[i:i + 3] for i in range(head, len(whole), 3)])
    return f"{sign}{whole}.{group(fraction)}" + (f"e{exponent}" if exponent else "")


def main():
    print("//! Constants and polynomials of the transcendental functions, lowest power first.")
    print("//!")
    print("//! Printed by `tests/math/minimax.py`, which states their derivation. Values of [`SINGLE`] are exact in `f32`.")
    print()
    print("#![allow(clippy::approx_constant, reason = \"the heads of constants that are kept in several parts\")]")
    print()
    print("use super::format::Polynomials;")
    for name, rounding, single in (("SINGLE", to_single, True), ("DOUBLE", to_double, False)):
        print()
        print(f"/// For `{'f32' if single else 'f64'}`.")
        print(f"pub(super) static {name}: Polynomials = Polynomials {{")
        for field, value in tables(rounding, single):
            if field in ("ln2", "half_pi"):
                print(f"    {field}: [{', '.join(text(v, single) for v in value)}],")
            elif isinstance(value, list):
                print(f"    {field}: &[")
                for v in value:
                    print(f"        {text(v, single)},")
                print("    ],")
            else:
                print(f"    {field}: {text(value, single)},")
        print("};")


main()
