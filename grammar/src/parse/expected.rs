//! What the grammar hoped for at a place, in words.
use super::Rule;

/// What would have been read at the place where reading stopped.
pub(super) struct Expected {
    /// In words, the likeliest first; never empty.
    pub words: Vec<&'static str>,
    /// Whether an expression was complete there, so that an operator could follow.
    pub after_value: bool,
    /// Whether only a name would do.
    pub name_only: bool,
    /// Whether a comma would do.
    pub comma: bool,
}

/// What can follow any value; of no use to a reader next to what would end the value.
const CONTINUATIONS: [Rule; 10] = [
    Rule::infix,
    Rule::access,
    Rule::field,
    Rule::args,
    Rule::pipe,
    Rule::k_as,
    Rule::k_is,
    Rule::k_in,
    Rule::dots,
    Rule::assign_op,
];

/// What may but seldom does stand before what ends a construct.
const RARE: [Rule; 6] =
    [Rule::colon, Rule::k_else, Rule::k_per, Rule::k_each, Rule::stage_field, Rule::slice_to];

/// Puts the rules that were tried at the furthest place into words.
pub(super) fn expected(rules: &[Rule], statement: bool) -> Expected {
    let tried = rules;
    let has = |rule: Rule| tried.contains(&rule);
    let after_value = has(Rule::infix);
    let operand = has(Rule::number) && has(Rule::ident) || has(Rule::expr) || has(Rule::inner);
    let mut words: Vec<&'static str> = Vec::new();
    let mut rare: Vec<&'static str> = Vec::new();
    // Of the three forms of a setting the one with `=` is by far the commonest; an option of `parallel` may be called
    // `data`, but that is not what is meant.
    let rules: Vec<Rule> =
        match (has(Rule::equals), has(Rule::globs) || has(Rule::string), has(Rule::expr)) {
            (true, true, _) => vec![Rule::equals],
            (true, _, true) => vec![Rule::expr],
            _ => rules.to_vec(),
        };
    let end = if statement { "the end of the statement" } else { "the end of the item" };
    for &rule in &rules {
        let word = match rule {
            Rule::EOI | Rule::probe_end | Rule::stmt_end => end,
            _ if operand && (begins_operand(rule) || rule == Rule::inner || rule == Rule::expr) => {
                "an expression"
            }
            _ => in_words(rule),
        };
        let list = if after_value && CONTINUATIONS.contains(&rule) || RARE.contains(&rule) {
            &mut rare
        } else {
            &mut words
        };
        if !list.contains(&word) {
            list.push(word);
        }
    }
    if after_value && words.iter().all(|word| *word == end) {
        words.insert(0, "an operator");
    }
    if words.is_empty() {
        words = rare;
    }
    words.sort_by_key(|word| rank(word));
    if words.is_empty() {
        words.push("something else");
    }
    Expected {
        name_only: !operand
            && (has(Rule::ident) || has(Rule::pattern) || has(Rule::path) || has(Rule::formal)),
        comma: has(Rule::comma),
        after_value,
        words,
    }
}

/// The order in which a reader meets what is missing: what is filled in, what closes, what goes on, what ends.
fn rank(word: &str) -> usize {
    const ORDER: [&str; 13] = [
        "a name",
        "an expression",
        "a type",
        "`:`",
        "`,`",
        "`)`",
        "`]`",
        "`}`",
        "`=`",
        "`~`",
        "`(`",
        "`{`",
        "`->`",
    ];
    let last = word.starts_with("the end of");
    ORDER.iter().position(|w| *w == word).unwrap_or(ORDER.len() + usize::from(last))
}

fn begins_operand(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::number
            | Rule::string
            | Rule::ident
            | Rule::tuple
            | Rule::list
            | Rule::neg
            | Rule::reducer
            | Rule::reduce
            | Rule::k_not
            | Rule::k_true
            | Rule::k_false
            | Rule::k_none
            | Rule::k_skip
            | Rule::k_if
            | Rule::k_with
            | Rule::if_
            | Rule::with_
    )
}

/// The words for one rule. Rules that never stand at the furthest place by themselves fall to the last line.
fn in_words(rule: Rule) -> &'static str {
    match rule {
        Rule::ident
        | Rule::path
        | Rule::call
        | Rule::pattern
        | Rule::stage
        | Rule::carry
        | Rule::formal => "a name",
        Rule::index => "the name of an index",
        Rule::expr | Rule::inner | Rule::effect | Rule::elem | Rule::arg => "an expression",
        Rule::sub => "an index",
        Rule::dim => "the size of an axis",
        Rule::range => "a range",
        Rule::type_ | Rule::result | Rule::results => "a type",
        Rule::where_c | Rule::where_def | Rule::where_req => "a size or a requirement",
        Rule::string | Rule::globs => "a string",
        Rule::number | Rule::digits => "a number",
        Rule::comma => "`,`",
        Rule::colon | Rule::slice_to => "`:`",
        Rule::equals | Rule::define | Rule::assign_op => "`=`",
        Rule::tilde => "`~`",
        Rule::arrow => "`->`",
        Rule::pipe => "`|>`",
        Rule::dots => "`..`",
        Rule::field | Rule::stage_field => "`.`",
        Rule::formals | Rule::args | Rule::tuple | Rule::names | Rule::tuple_t => "`(`",
        Rule::access | Rule::indices | Rule::shape | Rule::list => "`[`",
        Rule::block | Rule::tblock | Rule::pblock => "`{`",
        Rule::r_paren => "`)`",
        Rule::r_square => "`]`",
        Rule::r_brace => "`}`",
        Rule::infix | Rule::is_test => "an operator",
        Rule::k_as | Rule::as_ => "`as`",
        Rule::k_at => "`at`",
        Rule::k_carry | Rule::carries => "`carry`",
        Rule::k_each | Rule::each => "`each`",
        Rule::k_else | Rule::fallback => "`else`",
        Rule::k_if => "`if`",
        Rule::k_in | Rule::in_range => "`in`",
        Rule::k_is => "`is`",
        Rule::k_none => "`none`",
        Rule::k_on | Rule::on => "`on`",
        Rule::k_per => "`per`",
        Rule::k_times => "`times`",
        Rule::k_where | Rule::wheres => "`where`",
        Rule::stmt_probe => "a statement",
        Rule::tstmt_probe => "a setting",
        Rule::pstmt_probe => "`data`, `pipeline`, `tensor` or an option",
        Rule::item_probe => "an item",
        _ => "something else",
    }
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_string(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
