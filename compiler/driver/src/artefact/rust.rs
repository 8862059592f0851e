//! The Rust module of an artefact: declarations of its functions, and a safe `Model` that owns its memory.

use super::header::{arrays, elements};
use super::names::camel;
use super::plan::{Plan, Pointer, ProgramPlan};
use dlc_abi::{ElemType, NUMERICS_VERSION, NumericsClass};
use dlc_codegen::object::{ALIGNMENT, CONTEXT_FIELDS, Entry, MAX_PARTS, Status};
use std::fmt::Write as _;

/// The text of the module. It stands in a file of its own, to be included.
pub(super) fn text(plan: &Plan) -> String {
    let mut out = String::new();
    let text = &mut out;
    let _ = writeln!(
        text,
        "// The model `{}`, compiled by dlc. Link with the static library `{}`.\n",
        plan.model, plan.interface.prefix
    );
    constants(text, plan);
    status(text, &plan.interface.prefix);
    ffi(text, plan);
    memory(text);
    model(text, plan);
    out
}

fn constants(text: &mut String, plan: &Plan) {
    let _ = writeln!(
        text,
        "/// The most examples in a batch; every size from 1 works.\n\
         pub const MAX_BATCH: usize = {};\n\
         /// Version of the rules that decide every bit of a result.\n\
         pub const NUMERICS: u32 = {NUMERICS_VERSION};\n\
         /// Whether products round together with the sums that they are terms of. Results with and without differ.\n\
         pub const FUSED: bool = {};\n\
         /// Bytes of the weights in a state.\n\
         pub const WEIGHTS_BYTES: usize = {};\n\
         /// Bytes of a whole state.\n\
         pub const STATE_BYTES: usize = {};\n\
         /// Bytes of the file of weights.\n\
         pub const WEIGHTS_FILE_BYTES: usize = {};\n\
         /// The most parts that may run a step together.\n\
         pub const MAX_PARTS: u32 = {MAX_PARTS};",
        plan.max_batch,
        plan.class == NumericsClass::Fused,
        plan.weights_bytes,
        plan.interface.state_bytes,
        plan.interface.weights_file.bytes
    );
    for array in arrays(plan) {
        let name = &array.identifier;
        let batch =
            if array.shape.iter().any(|dim| dim.batch_factor != 0) { "batch" } else { "_batch" };
        let _ = writeln!(
            text,
            "/// Elements of `{name}` at a batch size.\n\
             pub const fn {name}_elements({batch}: usize) -> usize {{\n    {}\n}}",
            elements(&array.shape, batch)
        );
        if let Some((first, rest)) = array.shape.split_first()
            && (first.batch_factor, first.constant) == (1, 0)
            && rest.iter().all(|dim| dim.as_fixed().is_some())
        {
            let dims: Vec<String> = rest.iter().map(|dim| dim.constant.to_string()).collect();
            let _ = writeln!(
                text,
                "/// The shape of one example of `{name}`.\n\
                 pub const {}_SHAPE: [usize; {}] = [{}];",
                name.to_uppercase(),
                dims.len(),
                dims.join(", ")
            );
        }
    }
}

fn status(text: &mut String, prefix: &str) {
    let _ = writeln!(
        text,
        "\n/// Why a call did not do its work.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq)]\n\
         #[non_exhaustive]\n\
         pub enum Error {{"
    );
    let errors = || Status::ALL.into_iter().filter(|&status| status != Status::Ok);
    let variant = |status: Status| camel(&status.name().to_lowercase());
    for status in errors() {
        let _ = writeln!(text, "    /// {}.", capital(status.message()));
        let _ = writeln!(text, "    {},", variant(status));
    }
    let _ = writeln!(
        text,
        "    /// An array has another number of elements than the batch asks for.\n    Length,\n\
         \x20   /// A status that this module does not know.\n    Unknown(i32),\n}}\n\n\
         impl Error {{\n    fn check(status: i32) -> Result<(), Error> {{\n        match status {{\n            0 => Ok(()),"
    );
    for status in errors() {
        let _ = writeln!(text, "            {} => Err(Error::{}),", status.code(), variant(status));
    }
    let _ = writeln!(
        text,
        "            status => Err(Error::Unknown(status)),\n        }}\n    }}\n}}\n\n\
         impl std::fmt::Display for Error {{\n    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{\n        f.write_str(match self {{"
    );
    for status in errors() {
        let _ = writeln!(text, "            Error::{} => {:?},", variant(status), status.message());
    }
    let _ = writeln!(
        text,
        "            Error::Length => \"an array has another number of elements than the batch asks for\",\n\
         \x20           Error::Unknown(_) => \"the library `{prefix}` is of another version\",\n        }})\n    }}\n}}\n\n\
         impl std::error::Error for Error {{}}"
    );
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

/// The functions and structures of the header.
fn ffi(text: &mut String, plan: &Plan) {
    let prefix = &plan.interface.prefix;
    let _ = writeln!(
        text,
        "\n/// The C interface: what `{prefix}.h` declares and documents.\npub mod ffi {{\n    use std::ffi::c_void;\n\n\
         \x20   /// Where an index was out of range.\n    #[repr(C)]\n    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]\n\
         \x20   pub struct IndexError {{\n        /// Which pointer of the context, from 0; -1 for none.\n        pub pointer: i64,\n\
         \x20       /// Which element of it.\n        pub element: i64,\n        /// The value found.\n        pub value: i64,\n    }}"
    );
    for (entry, program) in plan.interface.entries.iter().zip(&plan.programs) {
        let name = camel(program.name);
        let _ = writeln!(
            text,
            "\n    /// {}\n    #[repr(C)]\n    #[derive(Debug, Clone, Copy)]\n    pub struct {name}Context {{",
            program.doc
        );
        for field in CONTEXT_FIELDS {
            let ty = match field.name {
                "state" | "workspace" | "barrier_data" => "*mut c_void",
                "state_bytes" | "workspace_bytes" | "batch" => "usize",
                "barrier" => "Option<unsafe extern \"C\" fn(*mut c_void, u32) -> i32>",
                "error" => "*mut IndexError",
                "seed" => "u32",
                _ => "i32",
            };
            let _ = writeln!(text, "        /// {}\n        pub {}: {ty},", field.doc, field.name);
        }
        let _ = writeln!(text, "        /// Nothing.\n        pub reserved: i32,");
        for pointer in &program.pointers {
            let access = if pointer.is_output { "mut" } else { "const" };
            let _ = writeln!(
                text,
                "        /// `{}`\n        pub {}: *{access} {},",
                pointer.identifier,
                pointer.identifier,
                rust_type(pointer.elem)
            );
        }
        let workspace = match entry.shared_bytes {
            0 => format!("parts * {}", entry.part_bytes()),
            shared => format!("{shared} + parts * {}", entry.part_bytes()),
        };
        let _ = writeln!(
            text,
            "    }}\n\n    /// How many segments `{0}_part` has.\n    pub const {1}_SEGMENTS: u32 = {2};\n\
             \x20   /// Bytes of a workspace for so many parts.\n    pub const fn {0}_workspace_bytes(parts: usize) -> usize {{\n        {3}\n    }}",
            program.name,
            program.name.to_uppercase(),
            entry.segments.len(),
            workspace
        );
    }
    let _ = writeln!(text, "\n    unsafe extern \"C\" {{");
    for (entry, program) in plan.interface.entries.iter().zip(&plan.programs) {
        let (name, context) = (program.name, camel(program.name) + "Context");
        let _ = writeln!(
            text,
            "        /// The whole step.\n        pub fn {prefix}_{name}(context: *const {context}) -> i32;"
        );
        if entry.in_parts {
            let _ = writeln!(
                text,
                "        /// One part of one segment.\n        pub fn {prefix}_{name}_part(segment: u32, part: u32, parts: u32, context: *const {context}) -> i32;"
            );
        }
    }
    let _ = writeln!(
        text,
        "        /// Fills a state from a file of weights.\n        pub fn {prefix}_load(state: *mut c_void, state_bytes: usize, file: *const c_void, file_bytes: usize) -> i32;\n\
         \x20       /// Writes the weights of a state as a file.\n        pub fn {prefix}_save(state: *const c_void, state_bytes: usize, file: *mut c_void, file_bytes: usize) -> i32;\n    }}\n}}"
    );
}

fn memory(text: &mut String) {
    let _ = writeln!(
        text,
        "\n/// Bytes that begin on a boundary of {ALIGNMENT}.\n#[repr(C, align({ALIGNMENT}))]\n#[derive(Debug, Clone, Copy)]\n#[allow(dead_code, reason = \"compiled code reads it\")]\nstruct Line([u8; {ALIGNMENT}]);\n\n\
         /// Zeroed memory for a number of bytes.\nfn lines(bytes: usize) -> Vec<Line> {{\n    vec![Line([0; {ALIGNMENT}]); bytes.div_ceil({ALIGNMENT})]\n}}\n\n\
         /// Copies elements to where compiled code reads them.\nfn put<T: Copy>(to: &mut [Line], from: &[T]) {{\n\
         \x20   assert!(size_of_val(from) <= size_of_val(to), \"arrays were made for the largest batch\");\n\
         \x20   // SAFETY: both are valid for so many bytes, checked above, and a mutable borrow overlaps no other.\n\
         \x20   unsafe {{ std::ptr::copy_nonoverlapping(from.as_ptr().cast::<u8>(), to.as_mut_ptr().cast::<u8>(), size_of_val(from)) }}\n}}\n\n\
         /// Copies elements from where compiled code wrote them; they are plain numbers, for which all bytes are valid.\nfn get<T: Copy>(from: &[Line], to: &mut [T]) {{\n\
         \x20   assert!(size_of_val(to) <= size_of_val(from), \"arrays were made for the largest batch\");\n\
         \x20   // SAFETY: both are valid for so many bytes, checked above, and a mutable borrow overlaps no other.\n\
         \x20   unsafe {{ std::ptr::copy_nonoverlapping(from.as_ptr().cast::<u8>(), to.as_mut_ptr().cast::<u8>(), size_of_val(to)) }}\n}}"
    );
}

fn rust_type(elem: ElemType) -> &'static str {
    match elem {
        ElemType::F32 => "f32",
        ElemType::F64 => "f64",
        ElemType::I32 => "i32",
        ElemType::I64 => "i64",
        ElemType::U8 | ElemType::Bool => "u8",
        ElemType::Bf16 | ElemType::F16 => "u16",
        ElemType::I8 => "i8",
    }
}

/// The programs that `Model` has methods for, beside the one that draws first values.
fn steps(plan: &Plan) -> impl Iterator<Item = (&Entry, &ProgramPlan)> {
    let programs = plan.interface.entries.iter().zip(&plan.programs);
    programs.filter(|(_, program)| program.name != "init")
}

fn model(text: &mut String, plan: &Plan) {
    let prefix = &plan.interface.prefix;
    let arrays = arrays(plan);
    let _ = writeln!(
        text,
        "\n/// The model `{}` with its state, and memory for steps of up to [`MAX_BATCH`] examples on the calling thread.\n\
         #[derive(Debug, Clone)]\npub struct Model {{\n    state: Vec<Line>,\n    workspace: Vec<Line>,",
        plan.model
    );
    for array in &arrays {
        let _ = writeln!(text, "    array_{}: Vec<Line>,", array.identifier);
    }
    let _ = writeln!(text, "    step: i32,\n    steps: i32,\n    seed: u32,\n}}");
    for (_, program) in steps(plan) {
        results(text, program);
    }
    let workspace: Vec<String> = plan
        .programs
        .iter()
        .map(|program| format!("ffi::{}_workspace_bytes(1)", program.name))
        .collect();
    let _ = writeln!(
        text,
        "\nimpl Model {{\n    /// Memory without values.\n    fn empty(seed: u32) -> Model {{\n        let workspace = [{}];\n        Model {{\n\
         \x20           state: lines(STATE_BYTES),\n            workspace: lines(workspace.into_iter().max().unwrap_or(0)),",
        workspace.join(", ")
    );
    for array in &arrays {
        let _ = writeln!(text, "            array_{}: lines({}),", array.identifier, array.bytes);
    }
    let _ = writeln!(
        text,
        "            step: 0,\n            steps: 0,\n            seed,\n        }}\n    }}"
    );
    constructors(text, plan, prefix);
    for (_, program) in steps(plan) {
        method(text, program, prefix);
    }
    let _ = writeln!(text, "}}");
}

/// The scalar results of a program, as a structure.
fn results(text: &mut String, program: &ProgramPlan) {
    let scalars: Vec<&Pointer> = scalar_results(program).collect();
    if scalars.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n/// Scalar results of [`Model::{}`].\n#[derive(Debug, Clone, Copy, Default, PartialEq)]\npub struct {} {{",
        program.name,
        camel(program.name)
    );
    for pointer in scalars {
        let _ = writeln!(
            text,
            "    /// `{0}`\n    pub {0}: {1},",
            pointer.identifier,
            rust_type(pointer.elem)
        );
    }
    let _ = writeln!(text, "}}");
}

fn scalar_results(program: &ProgramPlan) -> impl Iterator<Item = &Pointer> {
    program.pointers.iter().filter(|pointer| pointer.is_output && pointer.shape.is_empty())
}

fn constructors(text: &mut String, plan: &Plan, prefix: &str) {
    let call_load = |file: &str, bytes: &str| {
        format!(
            "Error::check(unsafe {{ ffi::{prefix}_load(self.state.as_mut_ptr().cast(), STATE_BYTES, {file}, {bytes}) }})"
        )
    };
    let safety = "// SAFETY: the state is aligned and has the bytes that the library was told.";
    if plan.trains {
        let _ = writeln!(
            text,
            "\n    /// A model whose first values are drawn from `seed`.\n    ///\n    /// # Errors\n    /// When the processor lacks instructions.\n\
             \x20   pub fn new(seed: u32) -> Result<Model, Error> {{\n        let mut model = Model::empty(seed);\n{}\
             \x20       // SAFETY: state and workspace are aligned and have the bytes that the library was told.\n\
             \x20       Error::check(unsafe {{ ffi::{prefix}_init(&context) }})?;\n        Ok(model)\n    }}\n\n\
             \x20   /// Plans the number of training steps that schedules refer to.\n    pub fn plan_steps(&mut self, steps: i32) {{\n        self.steps = steps;\n    }}",
            context_value("model", "1", &init_program(plan), "")
        );
    } else if plan.interface.embedded.is_some() {
        let _ = writeln!(
            text,
            "\n    /// A model with the weights that the library was made with.\n    ///\n    /// # Errors\n    /// When the processor lacks instructions.\n\
             \x20   pub fn new() -> Result<Model, Error> {{\n        let mut model = Model::empty(0);\n        model.load_embedded()?;\n        Ok(model)\n    }}"
        );
    }
    if plan.interface.embedded.is_some() {
        let _ = writeln!(
            text,
            "\n    /// Goes back to the weights that the library was made with.\n    ///\n    /// # Errors\n    /// When the processor lacks instructions.\n\
             \x20   pub fn load_embedded(&mut self) -> Result<(), Error> {{\n        {safety}\n        {}?;\n        self.step = 0;\n        Ok(())\n    }}",
            call_load("std::ptr::null()", "0")
        );
    }
    let _ = writeln!(
        text,
        "\n    /// A model with the weights of a file.\n    ///\n    /// # Errors\n    /// When the file is for another model, or the processor lacks instructions.\n\
         \x20   pub fn from_weights(file: &[u8]) -> Result<Model, Error> {{\n        let mut model = Model::empty(0);\n        model.load(file)?;\n        Ok(model)\n    }}\n\n\
         \x20   /// Takes the weights of a safetensors file, and begins to count steps anew.\n    ///\n    /// # Errors\n    /// When the file is damaged or for another model; nothing is changed then.\n\
         \x20   pub fn load(&mut self, file: &[u8]) -> Result<(), Error> {{\n        {safety}\n        {}?;\n        self.step = 0;\n        Ok(())\n    }}\n\n\
         \x20   /// The weights as a file.\n    ///\n    /// # Errors\n    /// When the model has no values yet.\n\
         \x20   pub fn save(&self) -> Result<Vec<u8>, Error> {{\n        let mut file = vec![0; WEIGHTS_FILE_BYTES];\n\
         \x20       // SAFETY: state and file have the bytes that the library was told.\n\
         \x20       Error::check(unsafe {{ ffi::{prefix}_save(self.state.as_ptr().cast(), STATE_BYTES, file.as_mut_ptr().cast(), WEIGHTS_FILE_BYTES) }})?;\n        Ok(file)\n    }}",
        call_load("file.as_ptr().cast()", "file.len()")
    );
}

fn init_program(plan: &Plan) -> ProgramPlan {
    let init = plan.programs.iter().find(|program| program.name == "init");
    init.cloned().expect("artefacts that train have a program for first values")
}

/// `let context = ..;` with pointers into the model's memory. Scalars are variables of the method.
fn context_value(model: &str, batch: &str, program: &ProgramPlan, scalars: &str) -> String {
    let batch = if batch == "batch" { batch.to_owned() } else { format!("batch: {batch}") };
    let mut text = format!(
        "        let context = ffi::{}Context {{\n            state: {model}.state.as_mut_ptr().cast(),\n            state_bytes: STATE_BYTES,\n\
         \x20           workspace: {model}.workspace.as_mut_ptr().cast(),\n            workspace_bytes: size_of_val(&{model}.workspace[..]),\n            {batch},\n\
         \x20           barrier: None,\n            barrier_data: std::ptr::null_mut(),\n            error: std::ptr::null_mut(),\n            step: {model}.step{scalars},\n\
         \x20           steps: {model}.steps,\n            seed: {model}.seed,\n            reserved: 0,\n",
        camel(program.name)
    );
    for pointer in &program.pointers {
        let name = &pointer.identifier;
        let value = match (pointer.shape.is_empty(), pointer.is_output) {
            (true, true) => format!("&mut results.{name}"),
            (true, false) => format!("&{name}"),
            (false, true) => format!("{model}.array_{name}.as_mut_ptr().cast()"),
            (false, false) => format!("{model}.array_{name}.as_ptr().cast()"),
        };
        let _ = writeln!(text, "            {name}: {value},");
    }
    text.push_str("        };\n");
    text
}

/// The method that runs a step.
fn method(text: &mut String, program: &ProgramPlan, prefix: &str) {
    let name = program.name;
    let has_results = scalar_results(program).next().is_some();
    let of_batch = program
        .pointers
        .iter()
        .any(|pointer| pointer.shape.iter().any(|dim| dim.batch_factor != 0));
    let trains = name == "train_step";
    let mut params = String::from("&mut self");
    if of_batch {
        params.push_str(", batch: usize");
    }
    let (mut before, mut after) = (String::new(), String::new());
    if of_batch {
        before.push_str(
            "        if batch == 0 || batch > MAX_BATCH {\n            return Err(Error::Batch);\n        }\n",
        );
    }
    for pointer in &program.pointers {
        let (id, ty) = (&pointer.identifier, rust_type(pointer.elem));
        let batch = if of_batch { "batch" } else { "1" };
        let check = format!(
            "        if {id}.len() != {id}_elements({batch}) {{\n            return Err(Error::Length);\n        }}\n"
        );
        match (pointer.shape.is_empty(), pointer.is_output) {
            (true, true) => {}
            (true, false) => {
                let _ = write!(params, ", {id}: {ty}");
            }
            (false, false) => {
                let _ = write!(params, ", {id}: &[{ty}]");
                before.push_str(&check);
                let _ = writeln!(before, "        put(&mut self.array_{id}, {id});");
            }
            (false, true) => {
                let _ = write!(params, ", {id}: &mut [{ty}]");
                before.push_str(&check);
                let _ = writeln!(after, "        get(&self.array_{id}, {id});");
            }
        }
    }
    let result = if has_results { camel(name) } else { "()".to_owned() };
    if trains {
        after.push_str("        self.step += 1;\n");
    }
    if has_results {
        let _ = writeln!(before, "        let mut results = {result}::default();");
    }
    let scalars = if trains { " + 1" } else { "" };
    let batch = if of_batch { "batch" } else { "1" };
    let value = if has_results { "results" } else { "()" };
    let _ = writeln!(
        text,
        "\n    /// {}\n    ///\n    /// # Errors\n    /// When an array has the wrong length, an index is out of range, or the model has no values yet.\n\
         \x20   pub fn {name}({params}) -> Result<{result}, Error> {{\n{before}{}\
         \x20       // SAFETY: all pointers are to aligned memory of this model, as large as the largest batch needs, or to scalars.\n\
         \x20       Error::check(unsafe {{ ffi::{prefix}_{name}(&context) }})?;\n{after}        Ok({value})\n    }}",
        program.doc,
        context_value("self", batch, program, scalars)
    );
}
