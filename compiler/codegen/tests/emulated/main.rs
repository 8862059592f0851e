//! Code of the wide back end under the emulator of instructions, so that AVX-512 is tested on machines without it: the
//! tests of every operation, and random kernels that must give the same bits natively and emulated, with AVX2 and AVX-512.

#[path = "../backends/lanes.rs"]
mod lanes;
#[path = "../support/mod.rs"]
mod native;
#[path = "../backends/ops.rs"]
mod ops;
mod random;
mod support;
