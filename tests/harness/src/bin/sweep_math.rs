//! Compares single-precision functions with double precision over all 2^32 arguments, or every n-th.
//!
//! ```text
//! cargo run --release -p dlc-harness --bin sweep_math -- [--threads N] [--stride N] [--limit X] [FUNCTION ..]
//! ```
//! Prints the largest error of each function in units of the last place and where it is met; fails if one is above
//! two units. Sine and cosine are compared up to `--limit`, 1e5 without it. With
//! `RUSTFLAGS="-C target-feature=+fma"` the interpreters' fused multiply-add is the processor's, and the sweep
//! takes a fraction of the time.

use std::process::ExitCode;

use dlc_harness::ulp::{error_f32, reference};
use dlc_ir::math::{UnaryMath, eval_f32};

struct Options {
    threads: u64,
    stride: u64,
    limit: f32,
    functions: Vec<UnaryMath>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { threads: 2, stride: 1, limit: 1e5, functions: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || -> Result<f64, String> {
            let text = args.next().ok_or(format!("{arg} needs a number"))?;
            text.parse().map_err(|error| format!("{text}: {error}"))
        };
        match arg.as_str() {
            "--threads" => options.threads = number()?.max(1.0) as u64,
            "--stride" => options.stride = number()?.max(1.0) as u64,
            "--limit" => options.limit = number()? as f32,
            name => {
                let function = UnaryMath::from_name(name);
                options.functions.push(function.ok_or(format!("no function named {name}"))?);
            }
        }
    }
    if options.functions.is_empty() {
        options.functions = UnaryMath::ALL.to_vec();
    }
    Ok(options)
}

/// The largest error and its argument over every `stride`-th bit pattern from `first` up to `end`.
fn sweep(fun: UnaryMath, first: u64, end: u64, stride: u64, limit: f32) -> (f64, f32) {
    let mut worst = (-1.0, 0.0);
    let mut bits = first;
    while bits < end {
        let x = f32::from_bits(bits as u32);
        bits += stride;
        if matches!(fun, UnaryMath::Sin | UnaryMath::Cos) && x.is_finite() && x.abs() > limit {
            continue;
        }
        let error = error_f32(eval_f32(fun, x), reference(fun, f64::from(x)));
        if error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut passed = true;
    for &fun in &options.functions {
        let share = (1_u64 << 32) / options.threads / options.stride * options.stride;
        let worst = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..options.threads)
                .map(|i| {
                    let first = i * share;
                    let end = if i + 1 == options.threads { 1 << 32 } else { first + share };
                    scope.spawn(move || sweep(fun, first, end, options.stride, options.limit))
                })
                .collect();
            let results =
                workers.into_iter().map(|worker| worker.join().expect("a sweep does not panic"));
            results.fold((-1.0, 0.0), |worst, next| if next.0 > worst.0 { next } else { worst })
        });
        println!(
            "{:8} {:.4} ulp at {:e} ({:#010x})",
            fun.name(),
            worst.0,
            worst.1,
            worst.1.to_bits()
        );
        passed &= worst.0 <= 2.0;
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
