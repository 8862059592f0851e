//! Compiles the model of the example.

fn main() -> Result<(), dlc_build::Error> {
    dlc_build::compile("../../examples/digits_mlp.dl")
}
