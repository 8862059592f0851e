//! Items: what stands at the top of a file.
use super::{Block, Call, Doc, Expr, Ident, Let, Path, StrLit, Type};
use crate::span::Span;

/// A whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// In order.
    pub items: Vec<Item>,
    /// The whole text.
    pub span: Span,
}

/// An item with its documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The documentation lines before it.
    pub docs: Vec<Doc>,
    /// Which item.
    pub kind: ItemKind,
    /// From the first word of the item to its end, without the documentation.
    pub span: Span,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemKind {
    /// `use "blocks.dl" as blocks`
    Use(Use),
    /// `layer dense(..) { .. }` and its like.
    Decl(Decl),
    /// `train vae { .. }`
    Train(Train),
    /// `parallel cifar_cnn { .. }`
    Parallel(Parallel),
    /// Text that was reported; the name it would have declared, where one can be made out.
    Bad(Option<Ident>),
}

/// `use "blocks.dl" as blocks`
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    /// The path of the file, relative to the file it stands in.
    pub path: StrLit,
    /// The name to reach it by, if one is given.
    pub alias: Option<Ident>,
}

/// What a declaration declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeclKind {
    /// A network that can be trained and run.
    Model,
    /// A function with parameters.
    Layer,
    /// A function without parameters of its own.
    Fn,
    /// A loss: per-example values from outputs and labels.
    Loss,
    /// A metric with running totals.
    Metric,
    /// An update rule for a parameter.
    Optimizer,
    /// A factor for the learning rate, by step.
    Schedule,
    /// An initial value or a random distribution.
    Init,
}

impl DeclKind {
    /// All kinds, in the order of the manual.
    pub const ALL: [DeclKind; 8] = [
        DeclKind::Model,
        DeclKind::Layer,
        DeclKind::Fn,
        DeclKind::Loss,
        DeclKind::Metric,
        DeclKind::Optimizer,
        DeclKind::Schedule,
        DeclKind::Init,
    ];

    /// The word that begins such a declaration.
    pub fn word(self) -> &'static str {
        match self {
            DeclKind::Model => "model",
            DeclKind::Layer => "layer",
            DeclKind::Fn => "fn",
            DeclKind::Loss => "loss",
            DeclKind::Metric => "metric",
            DeclKind::Optimizer => "optimizer",
            DeclKind::Schedule => "schedule",
            DeclKind::Init => "init",
        }
    }
}

/// `layer dense(x: f32[.., k], units: int) -> y: f32[.., units] where .. { .. }`
#[derive(Debug, Clone, PartialEq)]
pub struct Decl {
    /// What it declares.
    pub kind: DeclKind,
    /// Its name.
    pub name: Ident,
    /// What it takes; empty also where no brackets were written.
    pub formals: Vec<Formal>,
    /// What it gives; the first is the value in a pipe. Empty where the body's value tells.
    pub results: Vec<ResultSpec>,
    /// Derived sizes and requirements.
    pub wheres: Vec<Where>,
    /// `{ .. }` or `= expression`.
    pub body: Body,
}

/// The body of a declaration.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// `{ .. }`
    Block(Block),
    /// `= expression`
    Expr(Expr),
}

/// One formal: `x: f32[n, c]`, `units: int`, `padding: same | valid = same`.
#[derive(Debug, Clone, PartialEq)]
pub struct Formal {
    /// Documentation lines before it.
    pub docs: Vec<Doc>,
    /// Its name.
    pub name: Ident,
    /// Its type; where absent, the argument decides.
    pub ty: Option<Type>,
    /// The value where the caller gives none.
    pub default: Option<Expr>,
    /// From the name to the end.
    pub span: Span,
}

/// One result: `y: f32[n]`, or a type alone.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultSpec {
    /// Its name; where absent, the value of the body is the result.
    pub name: Option<Ident>,
    /// Its type.
    pub ty: Type,
    /// The whole.
    pub span: Span,
}

/// One clause of `where`.
#[derive(Debug, Clone, PartialEq)]
pub struct Where {
    /// Which clause.
    pub kind: WhereKind,
    /// The whole.
    pub span: Span,
}

/// What a `where` clause does.
#[derive(Debug, Clone, PartialEq)]
pub enum WhereKind {
    /// `o.. = windows(s, kernel, ..)`: a derived size.
    Define {
        /// What is defined.
        target: WhereTarget,
        /// Its value.
        value: Expr,
    },
    /// `c mod groups == 0 "the channels must divide into the groups"`: a requirement.
    Require {
        /// What must hold.
        condition: Expr,
        /// What to say where it does not.
        message: Option<StrLit>,
    },
}

/// What a `where` clause defines.
#[derive(Debug, Clone, PartialEq)]
pub enum WhereTarget {
    /// `k = ..`: one size.
    Name(Ident),
    /// `o.. = ..`: a pack of sizes.
    Pack(Ident),
    /// `len(r..) = ..`: how many axes a pack has.
    Len(Ident),
}

/// `train cifar_cnn(label: i32[batch]) { .. }`
#[derive(Debug, Clone, PartialEq)]
pub struct Train {
    /// The model it trains.
    pub name: Ident,
    /// What training needs besides the model's inputs, such as labels.
    pub formals: Vec<Formal>,
    /// Its settings.
    pub body: TrainBlock,
}

/// `{ .. }` of `train` or `step`.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainBlock {
    /// In order.
    pub stmts: Vec<TrainStmt>,
    /// With its braces.
    pub span: Span,
}

/// One line of a train block.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainStmt {
    /// Documentation lines before it.
    pub docs: Vec<Doc>,
    /// Which.
    pub kind: TrainStmtKind,
    /// Without the documentation.
    pub span: Span,
}

/// What a line of a train block is.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainStmtKind {
    /// `step critic times 5 { .. }`
    Step(Step),
    /// `let w = ..`
    Let(Let),
    /// `batch = 128`
    Setting(Setting),
    /// Text that was reported.
    Bad,
}

/// `step critic times 5 { .. }`: one of several updates that take turns.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name.
    pub name: Ident,
    /// How often it runs in its turn; once where absent.
    pub times: Option<Expr>,
    /// Its settings.
    pub body: TrainBlock,
}

/// `loss kl = ..`, `metric accuracy(logits, label)`, `freeze "stem.*"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// What is set.
    pub key: SettingKey,
    /// Where the key stands.
    pub key_span: Span,
    /// The name of this loss or metric.
    pub name: Option<Ident>,
    /// The value.
    pub value: SettingValue,
    /// Patterns of the parameters it holds for; all where empty.
    pub on: Vec<StrLit>,
}

/// What can be set in a train block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SettingKey {
    /// A term of the loss; several add up.
    Loss,
    /// A number to report.
    Metric,
    /// The update rule.
    Optimizer,
    /// The factor for the learning rate.
    Schedule,
    /// Parameters that stay as they are.
    Freeze,
    /// What holds after each update.
    Constraint,
    /// The weight of each example.
    Weight,
    /// Examples in a batch.
    Batch,
    /// Passes over the data.
    Epochs,
    /// Updates in all.
    Steps,
    /// Parts into which a batch is cut for the order of sums.
    Shards,
    /// The number from which all random values follow.
    Seed,
}

impl SettingKey {
    /// All keys, in the order of the manual.
    pub const ALL: [SettingKey; 12] = [
        SettingKey::Loss,
        SettingKey::Metric,
        SettingKey::Optimizer,
        SettingKey::Schedule,
        SettingKey::Freeze,
        SettingKey::Constraint,
        SettingKey::Weight,
        SettingKey::Batch,
        SettingKey::Epochs,
        SettingKey::Steps,
        SettingKey::Shards,
        SettingKey::Seed,
    ];

    /// The word as written.
    pub fn word(self) -> &'static str {
        match self {
            SettingKey::Loss => "loss",
            SettingKey::Metric => "metric",
            SettingKey::Optimizer => "optimizer",
            SettingKey::Schedule => "schedule",
            SettingKey::Freeze => "freeze",
            SettingKey::Constraint => "constraint",
            SettingKey::Weight => "weight",
            SettingKey::Batch => "batch",
            SettingKey::Epochs => "epochs",
            SettingKey::Steps => "steps",
            SettingKey::Shards => "shards",
            SettingKey::Seed => "seed",
        }
    }
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq)]
pub enum SettingValue {
    /// `loss = expression`
    Expr(Expr),
    /// `metric accuracy(logits, label)`: the call also gives the name.
    Call(Call),
    /// `freeze "stem.*", "conv_1.*"`
    Globs(Vec<StrLit>),
}

/// `parallel cifar_cnn { .. }`
#[derive(Debug, Clone, PartialEq)]
pub struct Parallel {
    /// The model.
    pub name: Ident,
    /// How it is spread.
    pub body: ParallelBlock,
}

/// `{ .. }` of `parallel` or of one of its lines.
#[derive(Debug, Clone, PartialEq)]
pub struct ParallelBlock {
    /// In order.
    pub stmts: Vec<ParallelStmt>,
    /// With its braces.
    pub span: Span,
}

/// One line of a parallel block.
#[derive(Debug, Clone, PartialEq)]
pub struct ParallelStmt {
    /// Documentation lines before it.
    pub docs: Vec<Doc>,
    /// Which.
    pub kind: ParallelStmtKind,
    /// Without the documentation.
    pub span: Span,
}

/// What a line of a parallel block is.
#[derive(Debug, Clone, PartialEq)]
pub enum ParallelStmtKind {
    /// `data 4`: replicas.
    Data {
        /// How many.
        count: Expr,
        /// Options.
        body: Option<ParallelBlock>,
    },
    /// `pipeline 2 at dense_1 { microbatches = 8 }`
    Pipeline {
        /// Stages.
        count: Expr,
        /// Layers that begin a new stage.
        at: Vec<Path>,
        /// Options.
        body: Option<ParallelBlock>,
    },
    /// `tensor 2 on dense_1, dense_2`
    Tensor {
        /// Parts.
        count: Expr,
        /// The layers that are cut.
        on: Vec<Path>,
    },
    /// `microbatches = 8`
    Option {
        /// Which.
        name: Ident,
        /// Its value.
        value: Expr,
    },
    /// Text that was reported.
    Bad,
}
