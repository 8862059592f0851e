//! The C header of an artefact.

use super::plan::{Plan, Pointer, ProgramPlan};
use dlc_abi::{Dim, ElemType, NUMERICS_VERSION, NumericsClass};
use dlc_codegen::object::{
    ALIGNMENT, CONTEXT_BYTES, CONTEXT_FIELDS, Entry, MAX_PARTS, StateUse, Status,
};

/// The text of the header.
pub(super) fn text(plan: &Plan) -> String {
    let prefix = &plan.interface.prefix;
    let upper = prefix.to_uppercase();
    let mut out = String::new();
    let text = &mut out;
    head(text, plan, &upper);
    sizes(text, plan, &upper);
    tensors(text, plan, &upper);
    weights(text, plan, &upper);
    statuses(text, prefix, &upper);
    for (entry, program) in plan.interface.entries.iter().zip(&plan.programs) {
        context(text, prefix, &upper, entry, program);
    }
    whole_workspace(text, plan, &upper);
    functions(text, plan, &upper);
    push(text, "\n#ifdef __cplusplus\n}\n#endif\n\n#endif");
    out
}

fn push(text: &mut String, line: impl AsRef<str>) {
    text.push_str(line.as_ref());
    text.push('\n');
}

fn define(text: &mut String, upper: &str, name: &str, value: impl std::fmt::Display) {
    push(text, format!("#define {upper}_{name} {value}"));
}

fn head(text: &mut String, plan: &Plan, upper: &str) {
    let prefix = &plan.interface.prefix;
    push(text, format!("/* The model `{}`, compiled by dlc.", plan.model));
    push(
        text,
        format!(
            "\n   The library {prefix} allocates nothing, starts no threads, keeps nothing between calls and needs no other library.\n   \
             All memory is the caller's: a state, which outlives a step, a workspace for each running step, and arrays, all on\n   \
             {upper}_ALIGNMENT boundaries. Different steps may run at the same time, with workspaces of their own, if none of them\n   \
             writes the state that another uses. Compiled code is entered with the default floating-point environment; the caller's\n   \
             is restored. Every function returns a {prefix}_status. */"
        ),
    );
    push(text, format!("#ifndef {upper}_H\n#define {upper}_H\n"));
    push(text, "#include <stddef.h>\n#include <stdint.h>\n");
    push(text, "#ifdef __cplusplus\nextern \"C\" {\n#endif\n");
}

fn sizes(text: &mut String, plan: &Plan, upper: &str) {
    push(text, "/* Every buffer, but not a scalar, lies on a boundary of this many bytes. */");
    define(text, upper, "ALIGNMENT", ALIGNMENT);
    push(
        text,
        "/* Puts a variable on such a boundary: `static ALIGNED unsigned char state[..];` */",
    );
    push(text, "#if defined(__GNUC__)");
    define(text, upper, "ALIGNED", format!("__attribute__((aligned({ALIGNMENT})))"));
    push(text, "#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L");
    define(text, upper, "ALIGNED", format!("_Alignas({ALIGNMENT})"));
    push(text, "#endif");
    push(text, "/* The most examples in a batch; every size from 1 works. */");
    define(text, upper, "MAX_BATCH", plan.max_batch);
    push(
        text,
        "/* The most parts that may run a step together. Any number gives the same bits. */",
    );
    define(text, upper, "MAX_PARTS", MAX_PARTS);
    push(text, "/* Version of the rules that decide every bit of a result. */");
    define(text, upper, "NUMERICS", NUMERICS_VERSION);
    push(
        text,
        "/* 1: products round together with the sums that they are terms of. 0: each rounds for itself, as processors without fused\n   \
         multiply-add do. Results of the two differ, and a state of one is not a state of the other; files of weights serve both. */",
    );
    define(text, upper, "FUSED", i32::from(plan.class == NumericsClass::Fused));
    push(text, "/* Bytes of a state for inference: the weights alone. */");
    define(text, upper, "WEIGHTS_BYTES", plan.weights_bytes);
    push(
        text,
        "/* Bytes of a whole state. It begins with the weights, so it serves inference as well. */",
    );
    define(text, upper, "STATE_BYTES", plan.interface.state_bytes);
    push(text, "/* Bytes of the file of weights (safetensors) that `save` writes. */");
    define(text, upper, "WEIGHTS_FILE_BYTES", plan.interface.weights_file.bytes);
}

/// Sizes of the arrays that go in and out, one entry for each name.
fn tensors(text: &mut String, plan: &Plan, upper: &str) {
    push(
        text,
        "\n/* Arrays that go in and out, row-major: bytes that each must have, whatever the batch, and elements that are used. */",
    );
    for pointer in arrays(plan) {
        let name = pointer.identifier.to_uppercase();
        define(text, upper, &format!("{name}_BYTES"), pointer.bytes);
        let elements = elements(&pointer.shape, "(size_t)(batch)");
        define(text, upper, &format!("{name}_ELEMENTS(batch)"), format!("({elements})"));
    }
}

/// The arrays of all programs by name; where programs differ, the one with the most bytes.
pub(super) fn arrays(plan: &Plan) -> Vec<Pointer> {
    let mut arrays: Vec<Pointer> = Vec::new();
    let pointers = plan.programs.iter().flat_map(|program| &program.pointers);
    for pointer in pointers.filter(|pointer| !pointer.shape.is_empty()) {
        match arrays.iter_mut().find(|known| known.identifier == pointer.identifier) {
            None => arrays.push(pointer.clone()),
            Some(known) => known.bytes = known.bytes.max(pointer.bytes),
        }
    }
    arrays
}

/// The number of elements of a shape as an expression in C or Rust.
pub(super) fn elements(shape: &[Dim], batch: &str) -> String {
    let fixed: i64 = shape.iter().filter_map(|dim| dim.as_fixed()).product();
    let mut factors = Vec::new();
    for dim in shape.iter().filter(|dim| dim.batch_factor != 0) {
        let factor = match (dim.batch_factor, dim.constant) {
            (1, 0) => batch.to_owned(),
            (factor, 0) => format!("{factor} * {batch}"),
            (factor, constant) => format!("({factor} * {batch} + {constant})"),
        };
        factors.push(factor);
    }
    if fixed != 1 || factors.is_empty() {
        factors.insert(0, fixed.to_string());
    }
    factors.join(" * ")
}

fn weights(text: &mut String, plan: &Plan, upper: &str) {
    push(text, "\n/* Byte offsets in a state, and numbers of elements. */");
    for buffer in plan.state.values() {
        let name = buffer.identifier.to_uppercase();
        define(text, upper, &format!("AT_{name}"), buffer.offset);
        let elements: usize = buffer.shape.iter().product();
        define(text, upper, &format!("N_{name}"), elements);
    }
}

fn statuses(text: &mut String, prefix: &str, upper: &str) {
    push(text, format!("\n/* What functions return. */\ntypedef enum {prefix}_status {{"));
    for status in Status::ALL {
        push(text, format!("    /* {} */", status.message()));
        push(text, format!("    {upper}_{} = {},", status.name(), status.code()));
    }
    push(text, format!("    {upper}_STATUS_BITS_ = 0x7fffffff\n}} {prefix}_status;"));
    push(
        text,
        format!(
            "\n/* Where an index, such as a label, was out of range: which pointer of the context, counted from 0 after `reserved`\n   \
             (-1: none), which element of it, and the value. */\n\
             typedef struct {prefix}_index_error {{\n    int64_t pointer;\n    int64_t element;\n    int64_t value;\n}} {prefix}_index_error;"
        ),
    );
}

fn context(text: &mut String, prefix: &str, upper: &str, entry: &Entry, program: &ProgramPlan) {
    let name = program.name;
    push(text, format!("\n/* {} */", program.doc));
    push(text, format!("typedef struct {prefix}_{name}_context {{"));
    let needed = match entry.state {
        StateUse::None => "not used".to_owned(),
        StateUse::Needs(bytes) => format!("{bytes} bytes"),
        StateUse::Draws => format!("{upper}_STATE_BYTES bytes"),
    };
    let writes = matches!(name, "init" | "train_step");
    for field in CONTEXT_FIELDS {
        let declared = match field.name {
            "state" if writes => "void *state".to_owned(),
            "state" => "const void *state".to_owned(),
            "workspace" => "void *workspace".to_owned(),
            "state_bytes" | "workspace_bytes" | "batch" => format!("size_t {}", field.name),
            "barrier" => "int32_t (*barrier)(void *barrier_data, uint32_t part)".to_owned(),
            "barrier_data" => "void *barrier_data".to_owned(),
            "error" => format!("{prefix}_index_error *error"),
            "seed" => "uint32_t seed".to_owned(),
            _ => format!("int32_t {}", field.name),
        };
        let note = if field.name == "state" { format!(" Here: {needed}.") } else { String::new() };
        push(text, format!("    /* {}{note} */\n    {declared};", field.doc));
    }
    push(text, "    int32_t reserved;");
    for pointer in &program.pointers {
        let constant = if pointer.is_output { "" } else { "const " };
        let may = if pointer.is_output && pointer.shape.is_empty() { "; may be null" } else { "" };
        push(
            text,
            format!(
                "    /* {}{}{may} */\n    {constant}{} *{};",
                if pointer.is_output { "out: " } else { "in: " },
                shape(&pointer.shape),
                c_type(pointer.elem),
                pointer.identifier
            ),
        );
    }
    push(text, format!("}} {prefix}_{name}_context;"));
    let upper_name = name.to_uppercase();
    define(text, upper, &format!("{upper_name}_SEGMENTS"), format!("{}u", entry.segments.len()));
    define(
        text,
        upper,
        &format!("{upper_name}_WORKSPACE_BYTES(parts)"),
        format!("((size_t){} + (size_t)(parts) * {})", entry.shared_bytes, entry.part_bytes()),
    );
    let bytes = CONTEXT_BYTES as usize + 8 * program.pointers.len();
    push(text, "#if defined(__cplusplus) && __cplusplus >= 201103L");
    let check = format!("assert(sizeof({prefix}_{name}_context) == {bytes}, \"64-bit layout\");");
    push(text, format!("static_{check}"));
    push(text, "#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L");
    push(text, format!("_Static_{check}\n#endif"));
}

fn whole_workspace(text: &mut String, plan: &Plan, upper: &str) {
    let most =
        |bytes: fn(&Entry) -> u64| plan.interface.entries.iter().map(bytes).max().unwrap_or(0);
    push(text, "\n/* Bytes of a workspace that serves every function, one call at a time. */");
    define(
        text,
        upper,
        "WORKSPACE_BYTES(parts)",
        format!(
            "((size_t){} + (size_t)(parts) * {})",
            most(|entry| entry.shared_bytes),
            most(Entry::part_bytes)
        ),
    );
}

fn shape(shape: &[Dim]) -> String {
    if shape.is_empty() {
        return "a scalar".to_owned();
    }
    let dims = shape.iter().map(|dim| match (dim.batch_factor, dim.constant) {
        (0, constant) => constant.to_string(),
        (1, 0) => "batch".to_owned(),
        (factor, 0) => format!("{factor} batch"),
        (factor, constant) => format!("{factor} batch + {constant}"),
    });
    format!("[{}]", dims.collect::<Vec<_>>().join(", "))
}

fn c_type(elem: ElemType) -> &'static str {
    match elem {
        ElemType::F32 => "float",
        ElemType::F64 => "double",
        ElemType::I32 => "int32_t",
        ElemType::I64 => "int64_t",
        ElemType::U8 | ElemType::Bool => "uint8_t",
        ElemType::Bf16 | ElemType::F16 => "uint16_t",
        ElemType::I8 => "int8_t",
    }
}

fn functions(text: &mut String, plan: &Plan, upper: &str) {
    let prefix = &plan.interface.prefix;
    push(text, "");
    for (entry, program) in plan.interface.entries.iter().zip(&plan.programs) {
        let name = program.name;
        push(text, format!("/* {} The whole step, on the calling thread. */", program.doc));
        push(
            text,
            format!("{prefix}_status {prefix}_{name}(const {prefix}_{name}_context *context);"),
        );
        if entry.in_parts {
            push(
                text,
                format!(
                    "/* One part of one segment. For each segment from 0 to {upper}_{}_SEGMENTS - 1 all parts run, at the same time, on\n   \
                     contexts that say the same; they meet at the barrier and return the same status, and only when all are done. */",
                    name.to_uppercase()
                ),
            );
            push(
                text,
                format!(
                    "{prefix}_status {prefix}_{name}_part(uint32_t segment, uint32_t part, uint32_t parts, const {prefix}_{name}_context *context);"
                ),
            );
        }
    }
    if plan.interface.embedded.is_some() {
        push(
            text,
            "/* The weights that the library was made with: a state for inference, to be used where it is. */",
        );
        push(text, format!("extern const unsigned char {prefix}_weights[{upper}_WEIGHTS_BYTES];"));
    }
    let null = match plan.interface.embedded {
        Some(_) => format!(" A null `file` stands for {prefix}_weights."),
        None => String::new(),
    };
    push(
        text,
        format!(
            "/* Fills a whole state from a file of weights (safetensors), in memory of any alignment. The file has every tensor of the\n   \
             model, with its shape and element type, and no other; order, white space and metadata are free. A file that is\n   \
             refused changes nothing.{null} */\n\
             {prefix}_status {prefix}_load(void *state, size_t state_bytes, const void *file, size_t file_bytes);"
        ),
    );
    push(
        text,
        format!(
            "/* Writes the weights of a state as a file of {upper}_WEIGHTS_FILE_BYTES bytes, which dlc reads too. */\n\
             {prefix}_status {prefix}_save(const void *state, size_t state_bytes, void *file, size_t file_bytes);"
        ),
    );
    push(
        text,
        format!(
            "/* What a status means, in words that live as long as the library. */\n\
             const char *{prefix}_strerror({prefix}_status status);"
        ),
    );
}
