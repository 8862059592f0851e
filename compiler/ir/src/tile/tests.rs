//! Every law of tile IR refuses a program that breaks it and nothing else, and says so.

use super::data::{ExprId, Phase};
use super::{Expr, Program, parse};
use crate::affine::Affine;
use crate::entity::EntityRef;

/// Keeps all laws and touches each.
const SOUND: &str = r#"program "sound" shards 4 class fused batch 8 arena 1024 {
  b0 = input f32[batch, 6] "x"
  b1 = param f32[6, 5] "w"
  b2 = input i32[batch] "label"
  b3 = temporary f32[batch, 5] at 64 "y"
  b4 = temporary f32[5*batch] of b3 "flat"
  b5 = output f32[batch] "picked"
  b6 = output f64[] "one"
  b7 = temporary f32[batch, 5] at 256 "z"
segment "sound.forward" forward
  phase "y" [i0 < batch, i1 < 5 | i2 < 6] units(i0/2) lanes i1 x 1 rows i0 x 2
    e0: f32 = load b0[i0, i2]
    e1: f32 = load b1[i2, i1]
    reduce sum e0 * e1 where 0 <= i2 < 6 order chain(run 256, runs 1)
    e2: f32 = reduced
    e3: f32 = const 0.0
    e4: f32 = max e3, e2
    store b3[i0, i1] e4
  phase "z" [i0 < 5*batch] barrier
    e0: f32 = load b4[i0]
    e1: bool = lt e0, e0
    e2: f32 = neg e0
    e3: f32 = select e1, e0, e2
    e4: f32 = fma e3, e2, e0
    store b4[i0] e4
  phase "picked" [i0 < batch] barrier
    e0: i32 = load b2[i0]
    e1: f32 = gather b3[i0, e0]
    store b5[i0] e1
  phase "total" [ | i0 < batch] barrier
    e0: f32 = load b3[i0, 0]
    reduce sum e0 order lanes(run 256, runs 1, shard i0)
    e1: f32 = reduced
    e2: f64 = convert e1
    store b6[] e2
}
"#;

fn sound() -> Program {
    let program = parse(SOUND).expect("the text is a program");
    assert_eq!(program.verify(), Ok(()));
    program
}

/// Laws that a program breaks.
fn laws(program: &Program) -> Vec<String> {
    let broken = program.verify().expect_err("a law is broken");
    broken.iter().map(ToString::to_string).collect()
}

/// The text with one change, and a part of the law that it breaks.
const CHANGES: &[(&str, &str, &str)] = &[
    ("\"picked\"\n  b6", "\"x\"\n  b6", "buffer b5: the name \"x\" is taken"),
    ("of b3 \"flat\"", "of b9 \"flat\"", "buffer b4: b9 does not exist before it"),
    ("of b3 \"flat\"", "of b5 \"flat\"", "buffer b4: b5 does not exist before it"),
    (
        "f32[5*batch] of b3",
        "f32[4*batch] of b3",
        "buffer b4: has another number of elements than b3",
    ),
    ("f32[5*batch] of b3", "f32[40] of b3", "buffer b4: has another number of elements than b3"),
    (
        "f32[5*batch] of b3",
        "i32[5*batch] of b3",
        "buffer b4: an alias is row-major and of one element type",
    ),
    (
        "f32[batch, 5] at 64",
        "f32[batch, 5] layout (i1, i0) at 64",
        "buffer b4: an alias is row-major",
    ),
    ("of b3 \"flat\"", "of b3 at 64 \"flat\"", "buffer b4: an alias has no place of its own"),
    ("at 64 \"y\"", "at 65 \"y\"", "buffer b3: lies outside the arena"),
    ("at 256 \"z\"", "at 960 \"z\"", "buffer b7: lies outside the arena"),
    (
        "output f32[batch] \"",
        "output f32[batch] at 0 \"",
        "buffer b5: only temporaries lie in the arena",
    ),
    ("load b4[i0]", "load b7[0, 0]", "phase \"z\": b7 is read before it is written"),
    ("load b4[i0]", "load b5[0]", "phase \"z\": b5 is read before it is written"),
    (
        "    reduce sum e0 * e1 where 0 <= i2 < 6 order chain(run 256, runs 1)\n",
        "",
        "has reduction axes but no reduction",
    ),
    ("    store b5[i0] e1\n", "", "phase \"picked\": stores nothing"),
    (
        "store b3[i0, i1]",
        "store b0[i0, i1]",
        "phase \"y\", store to b0: inputs and tables are not written",
    ),
    (
        "store b3[i0, i1]",
        "store b3[i0, i2 - 1]",
        "store to b3: a store's subscripts are over the space axes",
    ),
    (
        "store b3[i0, i1]",
        "store b3[i0, 0]",
        "store to b3: different points must write different elements",
    ),
    ("store b4[i0]", "store b4[0]", "store to b4: different points must write different elements"),
    (
        "store b3[i0, i1] e4",
        "store b3[0, i1] e4",
        "store to b3: different points must write different elements",
    ),
    (
        "store b6[] e2",
        "store b6[] e1",
        "store to b6: the value has another element type than the buffer",
    ),
    (
        "store b6[] e2",
        "store b6[] e9",
        "store to b6: the value has another element type than the buffer",
    ),
    ("store b6[]", "store b9[]", "store to b9: b9 does not exist"),
    ("neg e0", "neg e3", "phase \"z\", e2: e3 stands after its user"),
    ("load b0[i0, i2]", "load b0[i0, i3]", "phase \"y\", e0: names an axis that the phase lacks"),
    (
        "e3: f32 = const 0.0",
        "e3: f32 = index i7",
        "phase \"y\", e3: names an axis that the phase lacks",
    ),
    ("i32 = load", "i64 = load", "phase \"picked\", e0: has another element type than the buffer"),
    ("load b0[i0, i2]", "load b0[i0]", "phase \"y\", e0: b0 has 2 axes"),
    ("load b0[i0, i2]", "load b0[i0, i2 + 1]", "i2 + 1 reaches 1 to 6 of 6 in b0 at batch 1"),
    ("load b0[i0, i2]", "load b0[i0 - 1, i2]", "i0 - 1 reaches -1 to -1 of 1 in b0 at batch 1"),
    ("load b1[i2, i1]", "load b1[i1, i2]", "i2 reaches 0 to 5 of 5 in b1 at batch 1"),
    ("store b4[i0]", "store b4[i0 + 1]", "i0 + 1 reaches 1 to 5 of 5 in b4 at batch 1"),
    (
        "e0: i32 = load b2[i0]",
        "e0: i32 = const 1",
        "phase \"picked\", e1: the index of a gather is a load of i32",
    ),
    ("e4: f32 = fma e3, e2, e0", "e4: f32 = reduced", "phase \"z\", e4: there is no reduction"),
    ("e2: f32 = neg", "e2: f64 = neg", "phase \"z\", e2: changes the element type"),
    (
        "e4: f32 = max",
        "e4: f64 = max",
        "phase \"y\", e4: operands and result have one element type",
    ),
    (
        "fma e3, e2, e0",
        "fma e3, e1, e0",
        "phase \"z\", e4: operands and result have one element type",
    ),
    (
        "e1: bool = lt",
        "e1: f32 = lt",
        "phase \"z\", e1: compares one element type and gives a truth value",
    ),
    (
        "select e1, e0, e2",
        "select e0, e0, e2",
        "selects between values of its type by a truth value",
    ),
    (
        "select e1, e0, e2",
        "select e1, e0, e1",
        "selects between values of its type by a truth value",
    ),
    ("sum e0 * e1", "sum e0 * e1 * e1", "phase \"y\": 3 factors"),
    ("sum e0 * e1", "argmax e0 * e1", "phase \"y\": 2 factors"),
    ("sum e0 * e1", "sum e0 * e7", "phase \"y\": a factor that does not exist"),
    ("sum e0 * e1", "sum e0 * e4", "phase \"y\": a factor does not read what is reduced"),
    ("sum e0 * e1", "sum e0 * e5", "phase \"y\": factors have one element type"),
    (
        "where 0 <= i2 < 6",
        "where 0 <= i4 < 6",
        "phase \"y\": a guard names an axis that the phase lacks",
    ),
    ("chain(run 256, runs 1)", "chain(run 0, runs 1)", "phase \"y\": chunks of no terms"),
    ("lanes(run 256, runs 1", "lanes(run 256, runs 0", "phase \"total\": chunks of no terms"),
    (
        "chain(run 256, runs 1)",
        "chain(run 256, runs 1, shard i0)",
        "the sharded axis i0 is no reduction axis",
    ),
    (
        "order chain(run 256, runs 1)",
        "order chain(run 256, runs 1) of shard i0",
        "phase \"y\": i0 does not number its shards",
    ),
    (
        "[ | i0 < batch] barrier\n    e0: f32 = load b3[i0, 0]",
        "[ | ] barrier\n    e0: f32 = load b3[0, 0]",
        "phase \"total\": lanes without a reduction axis",
    ),
    ("units(i0/2)", "units(i2/2)", "phase \"y\": units of 2 along i2"),
    ("units(i0/2)", "units(i0/0)", "phase \"y\": units of 0 along i0"),
    ("units(i0/2)", "units(i0/2, i0/2)", "phase \"y\": units of 2 along i0"),
    ("lanes i1 x 1", "lanes i3 x 1", "phase \"y\": lanes along i3"),
    ("rows i0 x 2", "rows i2 x 2", "phase \"y\": rows along i2"),
    ("rows i0 x 2", "rows i1 x 2", "phase \"y\": rows along i1"),
    (" rows i0 x 2", " sorted i0", "phase \"y\": terms sorted along i0"),
];

#[test]
fn every_change_is_refused_by_the_law_that_it_breaks() {
    sound();
    for (right, wrong, law) in CHANGES {
        assert!(SOUND.contains(right), "{right}");
        let mut text = SOUND.replacen(right, wrong, 1);
        // A factor of another type, which the sound program has no use for.
        text = text.replacen(
            "    store b3[i0, i1] e4",
            "    e5: i32 = const 3\n    store b3[i0, i1] e4",
            1,
        );
        let program = parse(&text).unwrap_or_else(|error| panic!("{wrong}: {error}"));
        let found = laws(&program);
        assert!(found.iter().any(|found| found.contains(law)), "{wrong}: {found:#?}");
    }
}

/// Changes that the text cannot say.
#[test]
fn laws_of_data_that_has_no_text() {
    type Change = fn(&mut Phase);
    let changes: [(usize, Change, &str); 2] = [
        (2, |phase| phase.n_space = 4, "phase \"picked\": has more space axes than axes"),
        (
            2,
            |phase| {
                let Expr::Gather { subs, .. } = &mut phase.exprs[ExprId::from_index(1)].expr else {
                    panic!("a gather")
                };
                subs[1] = Affine::constant(1);
            },
            "e1: the gathered axis has no subscript of its own",
        ),
    ];
    for (at, change, law) in changes {
        let mut program = sound();
        change(&mut program.segments[0].phases[at]);
        let found = laws(&program);
        assert!(found.iter().any(|found| found.contains(law)), "{law}: {found:#?}");
    }
}
