//! Affine expressions over numbered axes: `c0 + c1*axis1 + c2*axis2 ..`.

use std::fmt;

/// `constant + sum of coefficient * axis`. Terms are sorted by axis and have no zero coefficient, so equal
/// functions are equal values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Affine {
    terms: Vec<(usize, i64)>,
    constant: i64,
}

impl Affine {
    /// A constant.
    pub fn constant(constant: i64) -> Self {
        Affine { terms: Vec::new(), constant }
    }

    /// One axis.
    pub fn axis(axis: usize) -> Self {
        Affine { terms: vec![(axis, 1)], constant: 0 }
    }

    /// The identity map on `rank` axes.
    pub fn identity(rank: usize) -> Vec<Affine> {
        (0..rank).map(Affine::axis).collect()
    }

    /// `constant + sum of coefficient * axis`; axes may repeat and coefficients may be zero.
    pub fn new(terms: impl IntoIterator<Item = (usize, i64)>, constant: i64) -> Self {
        let mut affine = Affine::constant(constant);
        for (axis, coefficient) in terms {
            affine.add_term(axis, coefficient);
        }
        affine
    }

    fn add_term(&mut self, axis: usize, coefficient: i64) {
        match self.terms.binary_search_by_key(&axis, |term| term.0) {
            Ok(at) => {
                self.terms[at].1 += coefficient;
                if self.terms[at].1 == 0 {
                    self.terms.remove(at);
                }
            }
            Err(at) => {
                if coefficient != 0 {
                    self.terms.insert(at, (axis, coefficient));
                }
            }
        }
    }

    /// The axes with their coefficients, ascending.
    pub fn terms(&self) -> &[(usize, i64)] {
        &self.terms
    }

    /// The part without an axis.
    pub fn offset(&self) -> i64 {
        self.constant
    }

    /// The coefficient of an axis; zero when it does not occur.
    pub fn coefficient(&self, axis: usize) -> i64 {
        self.terms.binary_search_by_key(&axis, |term| term.0).map_or(0, |at| self.terms[at].1)
    }

    /// The axis, if this is exactly one axis.
    pub fn as_axis(&self) -> Option<usize> {
        match (self.terms.as_slice(), self.constant) {
            ([(axis, 1)], 0) => Some(*axis),
            _ => None,
        }
    }

    /// The value, if no axis occurs.
    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// The value at a point.
    pub fn eval(&self, point: &[i64]) -> i64 {
        self.terms
            .iter()
            .fold(self.constant, |sum, &(axis, coefficient)| sum + coefficient * point[axis])
    }

    /// The sum of two expressions.
    pub fn plus(&self, other: &Affine) -> Affine {
        let mut sum = self.clone();
        sum.constant += other.constant;
        for &(axis, coefficient) in &other.terms {
            sum.add_term(axis, coefficient);
        }
        sum
    }

    /// The expression times a factor.
    pub fn times(&self, factor: i64) -> Affine {
        Affine::new(
            self.terms.iter().map(|&(axis, coefficient)| (axis, coefficient * factor)),
            self.constant * factor,
        )
    }

    /// The difference of two expressions.
    pub fn minus(&self, other: &Affine) -> Affine {
        self.plus(&other.times(-1))
    }

    /// Every axis replaced by an expression (indexed by axis).
    pub fn substitute(&self, by: &[Affine]) -> Affine {
        self.terms.iter().fold(Affine::constant(self.constant), |sum, &(axis, coefficient)| {
            sum.plus(&by[axis].times(coefficient))
        })
    }

    /// Every axis renumbered.
    pub fn renumber(&self, to: impl Fn(usize) -> usize) -> Affine {
        Affine::new(
            self.terms.iter().map(|&(axis, coefficient)| (to(axis), coefficient)),
            self.constant,
        )
    }

    /// The smallest and largest value over a box of extents (each at least 1).
    pub fn range(&self, extents: &[i64]) -> (i64, i64) {
        self.terms.iter().fold(
            (self.constant, self.constant),
            |(low, high), &(axis, coefficient)| {
                let end = coefficient * (extents[axis] - 1);
                (low + end.min(0), high + end.max(0))
            },
        )
    }
}

impl fmt::Display for Affine {
    /// Prints as `2*i0 + i3 - 1`, axes as `i` and their number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for &(axis, coefficient) in &self.terms {
            let sign = match (first, coefficient < 0) {
                (true, true) => "-",
                (true, false) => "",
                (false, true) => " - ",
                (false, false) => " + ",
            };
            f.write_str(sign)?;
            match coefficient.unsigned_abs() {
                1 => write!(f, "i{axis}")?,
                magnitude => write!(f, "{magnitude}*i{axis}")?,
            }
            first = false;
        }
        match (first, self.constant) {
            (true, constant) => write!(f, "{constant}"),
            (false, 0) => Ok(()),
            (false, constant) if constant < 0 => write!(f, " - {}", constant.unsigned_abs()),
            (false, constant) => write!(f, " + {constant}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_functions_are_equal_values_and_print_plainly() {
        let a = Affine::new([(3, 1), (0, 2), (3, -1)], -1);
        assert_eq!(a, Affine::new([(0, 2)], -1));
        assert_eq!(a.to_string(), "2*i0 - 1");
        assert_eq!(Affine::new([(1, -1), (2, 1)], 4).to_string(), "-i1 + i2 + 4");
        assert_eq!(Affine::constant(-3).to_string(), "-3");
    }

    #[test]
    fn substitution_composes_maps() {
        let outer = Affine::new([(0, 3), (1, -1)], 5);
        let by = [Affine::new([(2, 2)], 1), Affine::new([(0, 1), (2, 1)], 0)];
        let composed = outer.substitute(&by);
        for point in [[0, 0, 0], [1, 2, 3], [-4, 0, 7]] {
            let inner = [by[0].eval(&point), by[1].eval(&point)];
            assert_eq!(composed.eval(&point), outer.eval(&inner));
        }
    }

    #[test]
    fn range_is_reached_at_corners() {
        let a = Affine::new([(0, 2), (1, -3)], 1);
        assert_eq!(a.range(&[4, 3]), (-5, 7));
    }
}
