//! What the codes of this crate mean, for `dlc explain`.

use crate::diagnostic::Explanation;

/// The diagnostics of this crate, in order of their codes. Programs are whole files.
pub const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "E0101",
        title: "a character that the language does not use",
        text: "Outside of comments and strings only letters, digits, `_` and the signs of the language have a meaning. Where a sign of other languages is meant, the message names what stands for it here, such as `and` for `&&`.\n\nWrong:\n    fn gate(x) = if x > 0 && x < 1 { x } else { 0 }\nRight:\n    fn gate(x) = if x > 0 and x < 1 { x } else { 0 }\n",
    },
    Explanation {
        code: "E0102",
        title: "a string without an end",
        text: "A string ends on the line on which it begins.\n\nWrong:\n    use \"blocks.dl\nRight:\n    use \"blocks.dl\"\n",
    },
    Explanation {
        code: "E0103",
        title: "a bracket that is not closed, or closed by the wrong one",
        text: "Round, square and curly brackets are closed by their own kind, the one opened last first.\n\nWrong:\n    fn half(x) = (x[0] + x[1) / 2\nRight:\n    fn half(x) = (x[0] + x[1]) / 2\n",
    },
    Explanation {
        code: "E0104",
        title: "a closing bracket without an open one",
        text: "Each closing bracket needs an open one before it.\n\nWrong:\n    fn half(x) = x / 2)\nRight:\n    fn half(x) = (x / 2)\n",
    },
    Explanation {
        code: "E0105",
        title: "brackets or expressions that nest too deeply",
        text: "The compiler reads an expression with the depth of its own stack, so that a text can have 64 brackets open at once and some hundreds of operators in one expression. No formula that a person reads comes near; texts that programs write may. Give parts names with `let`, or make them functions.\n",
    },
    Explanation {
        code: "E0106",
        title: "a file that is too large",
        text: "A file of the language may have 16 MiB. Numbers belong into files of weights or data; layers can be put into several files, which `use` brings together.\n",
    },
    Explanation {
        code: "E0110",
        title: "something else than what can stand at this place",
        text: "The text was understood up to the place shown, and what stands there goes on in no way that the language has. The message names what can.\n\nWrong:\n    layer scale(x) {\n        let y = 3x\n        y\n    }\nRight:\n    layer scale(x) {\n        let y = 3 * x\n        y\n    }\n",
    },
    Explanation {
        code: "E0111",
        title: "an item that begins with no word of an item",
        text: "A file is a list of items, and the first word of each says what it is: `model`, `layer`, `fn`, `loss`, `metric`, `optimizer`, `schedule`, `init`, `train`, `parallel` or `use`. Statements stand within items.\n\nWrong:\n    class net(x) { x }\nRight:\n    layer net(x) { x }\n",
    },
    Explanation {
        code: "E0112",
        title: "documentation where nothing can be documented",
        text: "Lines that begin with `///` document the item or argument below them. Other remarks begin with `//`.\n\nWrong:\n    fn half(x) = x / 2\n    /// Nothing follows.\nRight:\n    /// Half of it.\n    fn half(x) = x / 2\n",
    },
    Explanation {
        code: "E0113",
        title: "an assignment to what cannot be written, or `each` without one",
        text: "On the left of `=` stands a name, a name with indices, or `let` and a new name; `each` adds into places. A comparison is `==`.\n\nWrong:\n    layer f(x) {\n        relu(x) = 3\n    }\nRight:\n    layer f(x) {\n        let y = relu(x)\n        y\n    }\n",
    },
    Explanation {
        code: "E0114",
        title: "index notation on the wrong side of an assignment",
        text: "The left side, `each` and the brackets of a reducer introduce indices and may state their ranges; a read uses them. Slices and `else` belong to reads.\n\nWrong:\n    layer f(x) -> y: f32[3] {\n        y[i] = x[i in 3]\n    }\nRight:\n    layer f(x) -> y: f32[3] {\n        y[i in 3] = x[i]\n    }\n",
    },
    Explanation {
        code: "E0115",
        title: "comparisons in a chain",
        text: "A comparison gives true or false, which cannot be compared with a number.\n\nWrong:\n    fn inside(x) = if 0 < x < 1 { x } else { 0 }\nRight:\n    fn inside(x) = if 0 < x and x < 1 { x } else { 0 }\n",
    },
    Explanation {
        code: "E0116",
        title: "a number that is too large",
        text: "Integers have 64 bits, real numbers the range of 64-bit floats. Infinity is written `inf`.\n\nWrong:\n    fn f(x) = min(x, 1e999)\nRight:\n    fn f(x) = min(x, inf)\n",
    },
    Explanation {
        code: "E0117",
        title: "a setting that `train` does not have",
        text: "The settings of `train` are a closed list, which the message shows; arguments of an optimizer stand behind its name.\n\nWrong:\n    train net {\n        optimizer = adam\n        lr = 0.1\n    }\nRight:\n    train net {\n        optimizer = adam(lr = 0.1)\n    }\n",
    },
    Explanation {
        code: "E0118",
        title: "a type that does not exist",
        text: "Tensors are made of `f32`, `f64`, `i32`, `i64`, `u8` and `bool`; arguments that are known at compile time are `int`, `real`, `bool`, a list of words, or a `layer`.\n\nWrong:\n    layer f(x, rate: float) { rate * x }\nRight:\n    layer f(x, rate: real) { rate * x }\n",
    },
    Explanation {
        code: "E0119",
        title: "a word of the language as a name",
        text: "Words such as `in`, `let` or `scan` mean the same wherever they stand.\n\nWrong:\n    fn f(x) {\n        let in = 3\n        x\n    }\nRight:\n    fn f(x) {\n        let inner = 3\n        inner * x\n    }\n",
    },
];
