//! The transcendental functions against references, and their two instantiations against each other.

use dlc_harness::ulp::{error_f32, error_f64, reference};
use dlc_ir::math::{UnaryMath, eval_f32, eval_f64};

/// Every 257th argument of all 2^32 would take a debug build too long; the release binary `sweep_math` does all.
const STRIDE: usize = 257 * 31;

fn check_f32(fun: UnaryMath, x: f32) {
    if matches!(fun, UnaryMath::Sin | UnaryMath::Cos) && x.is_finite() && x.abs() > 1e5 {
        return;
    }
    let got = eval_f32(fun, x);
    let exact = reference(fun, f64::from(x));
    let error = error_f32(got, exact);
    assert!(error <= 2.0, "{}({x:e}) is {exact:e}, not {got:e}: {error} ulp", fun.name());
}

#[test]
fn single_precision_stays_within_two_units() {
    for fun in UnaryMath::ALL {
        for bits in (0..=u32::MAX).step_by(STRIDE) {
            check_f32(fun, f32::from_bits(bits));
        }
    }
}

/// Zeros, denormals, powers of two, infinities, NaN and the places where definitions change, with 200 neighbours each.
#[test]
fn single_precision_stays_within_two_units_at_special_places() {
    let mut places: Vec<f32> =
        (-149..=127).map(|exponent| f64::from(exponent).exp2() as f32).collect();
    places.extend([0.0, f32::INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE]);
    places.extend([
        std::f32::consts::FRAC_1_SQRT_2,
        std::f32::consts::SQRT_2,
        0.292_893_2,
        0.414_213_57,
        0.5625,
        0.875,
        4.0,
        9.02,
        10.0,
        3.92,
    ]);
    places.extend([88.722_84, 87.336_54, 103.278_93, 103.972_08, 89.0, 104.0, 16.6, 17.4]);
    places.extend((0..64).map(|quarter| (f64::from(quarter) * std::f64::consts::FRAC_PI_2) as f32));
    for fun in UnaryMath::ALL {
        for &place in &places {
            for offset in -200..=200_i64 {
                let bits = (i64::from(place.to_bits()) + offset).clamp(0, i64::from(u32::MAX >> 1));
                let x = f32::from_bits(bits as u32);
                check_f32(fun, x);
                check_f32(fun, -x);
            }
        }
    }
}

/// The values of `tests/math/reference.py`, or of the file named in `DLC_MATH_REFERENCE`.
#[test]
fn double_precision_stays_within_four_units() {
    let text = match std::env::var("DLC_MATH_REFERENCE") {
        Ok(path) => std::fs::read_to_string(path).expect("the named file is readable"),
        Err(_) => include_str!("../../math/reference.txt").to_owned(),
    };
    let mut worst = [(0.0, 0.0); UnaryMath::ALL.len()];
    let mut n_lines = 0;
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let fun = UnaryMath::from_name(words[0]).expect("a function's name");
        let value = |i: usize| f64::from_bits(u64::from_str_radix(words[i], 16).expect("bits"));
        let error = error_f64(eval_f64(fun, value(1)), value(2), value(3));
        if error > worst[fun as usize].0 {
            worst[fun as usize] = (error, value(1));
        }
        n_lines += 1;
    }
    assert!(n_lines > 500, "the table is complete");
    for fun in UnaryMath::ALL {
        let (error, x) = worst[fun as usize];
        println!("{:8} {error:.4} ulp at {x:e}", fun.name());
        assert!(error <= 4.0, "{}({x:e}): {error} ulp", fun.name());
    }
}

#[test]
fn limits_are_those_of_the_table() {
    let inf = f64::INFINITY;
    let cases = [
        (UnaryMath::Exp, -inf, 0.0),
        (UnaryMath::Exp, inf, inf),
        (UnaryMath::Exp, 0.0, 1.0),
        (UnaryMath::Log, 0.0, -inf),
        (UnaryMath::Log, -0.0, -inf),
        (UnaryMath::Log, inf, inf),
        (UnaryMath::Log, -inf, f64::NAN),
        (UnaryMath::Log, -1.0, f64::NAN),
        (UnaryMath::Log, 1.0, 0.0),
        (UnaryMath::Log1p, -1.0, -inf),
        (UnaryMath::Log1p, -1.5, f64::NAN),
        (UnaryMath::Log1p, -inf, f64::NAN),
        (UnaryMath::Log1p, inf, inf),
        (UnaryMath::Log1p, -0.0, -0.0),
        (UnaryMath::Tanh, -inf, -1.0),
        (UnaryMath::Tanh, inf, 1.0),
        (UnaryMath::Tanh, -0.0, -0.0),
        (UnaryMath::Erf, -inf, -1.0),
        (UnaryMath::Erf, inf, 1.0),
        (UnaryMath::Erf, -0.0, -0.0),
        (UnaryMath::Sigmoid, -inf, 0.0),
        (UnaryMath::Sigmoid, inf, 1.0),
        (UnaryMath::Sigmoid, 0.0, 0.5),
        (UnaryMath::Sin, inf, f64::NAN),
        (UnaryMath::Sin, -0.0, -0.0),
        (UnaryMath::Sin, 1e300, f64::NAN),
        (UnaryMath::Cos, -inf, f64::NAN),
        (UnaryMath::Cos, -0.0, 1.0),
    ];
    let nan = UnaryMath::ALL.map(|fun| (fun, f64::NAN, f64::NAN));
    for (fun, x, y) in cases.into_iter().chain(nan) {
        assert_eq!(error_f64(eval_f64(fun, x), y, 0.0), 0.0, "{}({x}) is {y}", fun.name());
        let x = x as f32;
        assert_eq!(error_f32(eval_f32(fun, x), y), 0.0, "{}({x}) is {y}", fun.name());
    }
}
