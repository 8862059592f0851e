//! How expressions group, shown with all brackets.
use dlc_grammar::ast::*;
use dlc_grammar::{FileId, parse};

fn expr(text: &str) -> Expr {
    let parsed = parse(FileId(0), &format!("fn f(x) = {text}\n"));
    assert!(parsed.diagnostics.is_empty(), "{text}: {:#?}", parsed.diagnostics);
    match &parsed.file.items[0].kind {
        ItemKind::Decl(Decl { body: Body::Expr(expr), .. }) => expr.clone(),
        other => panic!("{other:?}"),
    }
}

fn shown(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Number(number) => number.text.clone(),
        ExprKind::Name(name) => name.name.clone(),
        ExprKind::Paren(inner) => shown(inner),
        ExprKind::Unary(UnaryOp::Neg, operand) => format!("(-{})", shown(operand)),
        ExprKind::Unary(UnaryOp::Not, operand) => format!("(not {})", shown(operand)),
        ExprKind::Binary { op, lhs, rhs, .. } => {
            format!("({} {} {})", shown(lhs), op.text(), shown(rhs))
        }
        ExprKind::Is(value, IsPattern::None(_)) => format!("({} is none)", shown(value)),
        ExprKind::Reduce { op, indices, body, .. } => {
            let names: Vec<&str> = indices.iter().map(|index| index.name.name.as_str()).collect();
            format!("({}[{}] {})", op.word(), names.join(" "), shown(body))
        }
        ExprKind::Access { base, subs, .. } => {
            let subs: Vec<String> = subs
                .iter()
                .map(|sub| match &sub.kind {
                    SubKind::At { value, .. } => shown(value),
                    SubKind::Dots => "..".to_string(),
                    other => format!("{other:?}"),
                })
                .collect();
            format!("{}[{}]", shown(base), subs.join(" "))
        }
        ExprKind::Call(callee, args) => {
            let args: Vec<String> = args.iter().map(|arg| shown(&arg.value)).collect();
            format!("{}({})", shown(callee), args.join(" "))
        }
        ExprKind::Pipe(value, stages) => {
            let stages: Vec<String> = stages.iter().map(|stage| stage.path.text()).collect();
            format!("({} |> {})", shown(value), stages.join(" |> "))
        }
        ExprKind::If(if_) => format!("(if {} ..)", shown(&if_.arms[0].condition)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn operators_group_as_in_mathematics() {
    for (text, grouped) in [
        ("a + b * c ^ d ^ e", "(a + (b * (c ^ (d ^ e))))"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b * c div d mod e @ f", "(((((a / b) * c) div d) mod e) @ f)"),
        ("-a ^ 2", "(-(a ^ 2))"),
        ("-a * b", "((-a) * b)"),
        ("a ^ -b * c", "((a ^ (-b)) * c)"),
        ("a or b and not c == d + 1", "(a or (b and (not (c == (d + 1)))))"),
        ("not a is none and b", "((not (a is none)) and b)"),
        ("a + b |> f |> g", "((a + b) |> f |> g)"),
        ("(a + b) * c", "((a + b) * c)"),
    ] {
        assert_eq!(shown(&expr(text)), grouped, "{text}");
    }
}

#[test]
fn a_reducer_takes_the_product_after_it_and_is_a_term_of_a_sum() {
    for (text, grouped) in [
        ("sum[k] a * b", "(sum[k] (a * b))"),
        ("sum[k] a * b + c", "((sum[k] (a * b)) + c)"),
        ("bq[h] + sum[d] x[d] * w[d, h]", "(bq[h] + (sum[d] (x[d] * w[d h])))"),
        ("mean[j] x[j]^2 + epsilon", "((mean[j] (x[j] ^ 2)) + epsilon)"),
        ("-sum[k] a * b", "(-(sum[k] (a * b)))"),
        ("exp(x - max[j] y[j])", "exp((x - (max[j] y[j])))"),
        ("p / sum[q] r * s", "(p / (sum[q] (r * s)))"),
        ("a * sum[k] b * c - d", "((a * (sum[k] (b * c))) - d)"),
        ("sum[i] sum[j] a * b == c", "((sum[i] (sum[j] (a * b))) == c)"),
        ("sum[k] -a * b", "(sum[k] ((-a) * b))"),
        ("sum[k] a |> f", "((sum[k] a) |> f)"),
        ("mean[i] if a { b } else { c }", "(mean[i] (if a ..))"),
        ("max(a, b) * sum(c)", "(max(a b) * sum(c))"),
    ] {
        assert_eq!(shown(&expr(text)), grouped, "{text}");
    }
}

fn stmts(text: &str) -> Vec<StmtKind> {
    let parsed = parse(FileId(0), &format!("fn f(x) {{\n{text}\n}}\n"));
    assert!(parsed.diagnostics.is_empty(), "{text}: {:#?}", parsed.diagnostics);
    match &parsed.file.items[0].kind {
        ItemKind::Decl(Decl { body: Body::Block(block), .. }) => {
            block.stmts.iter().map(|s| s.kind.clone()).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The forms of the places of a left side, one letter each.
fn places(head: &Head) -> String {
    let letter = |binder: &Binder| match &binder.kind {
        BinderKind::Dots => "..".to_string(),
        BinderKind::All => ":".to_string(),
        BinderKind::Index(Index { name, pack, range, .. }) => {
            let dots = if *pack { ".." } else { "" };
            let range = if range.is_some() { "=" } else { "" };
            format!("{}{dots}{range}", name.name)
        }
        BinderKind::Group(binders) => format!("({})", binders.len()),
        BinderKind::At { pack, .. } => format!("@{}", if *pack { ".." } else { "" }),
    };
    let letters: Vec<String> = head.binders.iter().map(letter).collect();
    letters.join(" ")
}

#[test]
fn left_sides_bind_indices_and_compute_places() {
    for (text, expected) in [
        ("y[n, i.., (g in groups, f)] = 0", "n i.. (2)"),
        ("y[:, t, .., b in batch, u.. in size..] = 0", ": t .. b= u..="),
        ("each[i, u..] y[(i*2 + u).., label[i], 0, (i)] += 1", "@.. @ @ @"),
        ("y[(i..)] = 0", "(1)"),
    ] {
        match stmts(text).remove(0) {
            StmtKind::Assign(assign) => {
                assert_eq!(places(&assign.head.expect("indices were written")), expected, "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn reads_have_groups_slices_and_a_value_outside() {
    let read = expr("x[n, (i*2 - p).., (g, v), 1:n, :, (a..), (b) else skip]");
    let ExprKind::Access { subs, fallback, .. } = read.kind else { panic!("{read:?}") };
    let forms: Vec<&str> = subs
        .iter()
        .map(|sub| match &sub.kind {
            SubKind::Dots => "..",
            SubKind::Slice { from: None, to: None } => ":",
            SubKind::Slice { .. } => "a:b",
            SubKind::Group(_) => "()",
            SubKind::At { pack: true, .. } => "@..",
            SubKind::At { pack: false, .. } => "@",
        })
        .collect();
    assert_eq!(forms, ["@", "@..", "()", "a:b", ":", "()", "@"]);
    assert!(matches!(fallback, Some(Fallback::Skip(_))));
}

#[test]
fn the_parameter_of_an_optimizer_is_an_ordinary_name() {
    let kinds = stmts("param w: f32[n] ~ zeros\nparam -= lr * grad\nparam");
    assert!(matches!(kinds[0], StmtKind::Param(_)));
    assert!(
        matches!(&kinds[1], StmtKind::Assign(a) if a.target.text() == "param" && a.op == AssignOp::Sub)
    );
    assert!(matches!(&kinds[2], StmtKind::Expr(e) if e.as_name().is_some()));
}

#[test]
fn lines_go_on_after_operators_within_brackets_and_before_pipes() {
    assert_eq!(stmts("let a = b +\n  c\nlet d = (e\n  + f)\ng\n  |> h").len(), 3);
    assert_eq!(stmts("a\n-b").len(), 2);
}

#[test]
fn all_settings_of_training_are_read() {
    let text = "train m(label: i32[batch]) {\n    loss a = 1\n    metric acc(y, label)\n    optimizer = clip(1.0) |> adam() on \"w.*\"\n    \
                schedule = cosine()\n    freeze \"a\", \"b\"\n    constraint max_norm(2) on \"w\"\n    weight = w\n    batch = 4\n    \
                epochs = 2\n    steps = 3\n    shards = 4\n    seed = 1\n    let w = 1\n    step s times 2 { loss = 3 }\n}\n";
    let parsed = parse(FileId(0), text);
    assert!(parsed.diagnostics.is_empty(), "{:#?}", parsed.diagnostics);
    let ItemKind::Train(train) = &parsed.file.items[0].kind else { panic!("not read as training") };
    let keys: Vec<SettingKey> = train
        .body
        .stmts
        .iter()
        .filter_map(|stmt| match &stmt.kind {
            TrainStmtKind::Setting(setting) => Some(setting.key),
            _ => None,
        })
        .collect();
    assert_eq!(keys, SettingKey::ALL);
}
