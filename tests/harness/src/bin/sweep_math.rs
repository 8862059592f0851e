//! Compares single-precision functions with double precision over all 2^32 arguments, or every n-th.
//!
//! ```text
//! cargo run --release -p dlc-harness --bin sweep_math -- [--threads N] [--stride N] [--from X] [--to X] [FUNCTION ..]
//! ```
//! Prints the largest error of each function in units of the last place and where it is met; fails if one is above
//! two units. `--from` and `--to` bound the magnitudes, from zero to NaN without them; sine and cosine are compared
//! up to 1e5 unless `--to` is given. With
//! `RUSTFLAGS="-C target-feature=+fma"` the interpreters' fused multiply-add is the processor's, and the sweep
//! takes a fraction of the time.

use std::process::ExitCode;

use dlc_harness::ulp::{error_f32, reference};
use dlc_ir::math::{UnaryMath, eval_f32};

struct Options {
    threads: u64,
    stride: u64,
    from: f32,
    to: Option<f32>,
    functions: Vec<UnaryMath>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { threads: 2, stride: 1, from: 0.0, to: None, functions: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || -> Result<f64, String> {
            let text = args.next().ok_or(format!("{arg} needs a number"))?;
            text.parse().map_err(|error| format!("{text}: {error}"))
        };
        match arg.as_str() {
            "--threads" => options.threads = number()?.max(1.0) as u64,
            "--stride" => options.stride = number()?.max(1.0) as u64,
            "--from" => options.from = number()?.abs() as f32,
            "--to" => options.to = Some(number()?.abs() as f32),
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

/// The largest error and its argument over every `stride`-th magnitude from bits `first` up to `end`, of both signs.
fn sweep(fun: UnaryMath, first: u64, end: u64, stride: u64) -> (f64, f32) {
    let mut worst = (-1.0, 0.0);
    for bits in (first..end).step_by(stride as usize) {
        let magnitude = f32::from_bits(bits as u32);
        for x in [magnitude, -magnitude] {
            let error = error_f32(eval_f32(fun, x), reference(fun, f64::from(x)));
            if error > worst.0 {
                worst = (error, x);
            }
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
        let periodic = matches!(fun, UnaryMath::Sin | UnaryMath::Cos);
        let to = options.to.or(periodic.then_some(1e5));
        let first = u64::from(options.from.to_bits());
        let end = to.map_or(1 << 31, |to| u64::from(to.to_bits()) + 1);
        let share = end.saturating_sub(first) / options.threads + 1;
        let worst = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..options.threads)
                .map(|i| {
                    let first = first + i * share;
                    let end = end.min(first + share);
                    scope.spawn(move || sweep(fun, first, end, options.stride))
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
