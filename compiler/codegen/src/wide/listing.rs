//! Machine code as text, for `--emit asm` and for tests.

use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction, Mnemonic};

/// One instruction of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Bytes from the start of the function.
    pub offset: usize,
    /// The instruction's bytes.
    pub bytes: Vec<u8>,
    /// In the syntax of the GNU assembler; branch targets and constants as offsets from the function's start.
    pub text: String,
}

/// The instructions of a function up to its `ret`, behind which its constants lie.
pub fn listing(code: &[u8]) -> Vec<Line> {
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let mut formatter = GasFormatter::new();
    formatter.options_mut().set_space_after_operand_separator(true);
    let mut lines = Vec::new();
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        let mut text = String::new();
        formatter.format(&instruction, &mut text);
        let offset = instruction.ip() as usize;
        let bytes = code[offset..offset + instruction.len()].to_vec();
        lines.push(Line { offset, bytes, text });
        if instruction.mnemonic() == Mnemonic::Ret {
            break;
        }
    }
    lines
}
