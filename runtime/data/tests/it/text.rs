//! Text files and vocabularies.

use dlc_abi::ElemType;
use dlc_data::{DataSpec, Dataset, Want};

use crate::folder::{Folder, integers};

/// The windows of a column, as text.
fn windows(dataset: &Dataset, column: &str) -> Vec<String> {
    let names = dataset.column(column).expect("a column").class_names().expect("a vocabulary");
    let width = dataset.column(column).expect("a column").row_len();
    let text = |window: &[i32]| window.iter().map(|&token| &*names[token as usize]).collect();
    integers(dataset, column).chunks(width).map(text).collect()
}

#[test]
fn windows_and_the_same_one_on_go_over_the_text() {
    for text in ["hello world", "héllo wörld"] {
        let folder = Folder::with(&[("t.txt", text.as_bytes())]);
        let train = folder.load("text:DIR/t.txt?window=4").expect("a sound text").train;
        let part = |from: usize| text.chars().skip(from).take(4).collect::<String>();
        assert_eq!(windows(&train, "token"), [part(0), part(4)]);
        assert_eq!(windows(&train, "next"), [part(1), part(5)]);
        let train = folder.load("text:DIR/t.txt?window=4&stride=3").expect("a sound text").train;
        assert_eq!(windows(&train, "token"), [part(0), part(3), part(6)]);
    }
    let folder = Folder::with(&[("t.txt", b"cabba")]);
    let train = folder.load("text:DIR/t.txt?window=4").expect("a sound text").train;
    assert_eq!(integers(&train, "token"), [2, 0, 1, 1]);
    assert_eq!(train.column("token").expect("a column").n_classes(), Some(3));
}

#[test]
fn bytes_and_words_are_tokens_too() {
    let folder = Folder::with(&[("t.txt", &[0, 255, 10, 7])]);
    let train = folder.load("text:DIR/t.txt?unit=byte&window=3").expect("bytes").train;
    assert_eq!(integers(&train, "token"), [0, 255, 10]);
    assert_eq!(integers(&train, "next"), [255, 10, 7]);
    assert_eq!(train.column("token").expect("a column").n_classes(), Some(256));
    let folder = Folder::with(&[("t.txt", "the cat\n saw the  other cat the".as_bytes())]);
    let train = folder.load("text:DIR/t.txt?unit=word&window=6").expect("words").train;
    // By how frequent they are, then by letters: <unk>, the, cat, other, saw.
    assert_eq!(integers(&train, "token"), [1, 2, 4, 1, 3, 2]);
    let train = folder.load("text:DIR/t.txt?unit=word&window=6&words=2").expect("words").train;
    assert_eq!(integers(&train, "token"), [1, 2, 0, 1, 0, 2]);
}

#[test]
fn a_vocabulary_says_the_numbers() {
    let folder = Folder::with(&[("t.txt", b"ab \n"), ("v.txt", b"\\n\nb\n\\s\na\n")]);
    let spec = "text:DIR/t.txt?window=3&vocab=DIR/v.txt";
    assert_eq!(integers(&folder.load(spec).expect("sound").train, "token"), [3, 1, 2]);
    folder.write("v.txt", b"a\n<unk>\n");
    assert_eq!(integers(&folder.load(spec).expect("sound").train, "next"), [1, 1, 1]);
}

#[test]
fn texts_follow_one_another_and_the_last_windows_are_set_apart() {
    let folder = Folder::with(&[("a.txt", b"abcdef"), ("b.txt", b"xy"), ("c.txt", b"abcd")]);
    let train = folder.load("text:DIR/*.txt?window=2").expect("sound").train;
    assert_eq!(windows(&train, "token"), ["ab", "cd", "ab"]);
    let splits = folder.load("text:DIR/a.txt?window=2&test=DIR/c.txt").expect("sound");
    assert_eq!(windows(&splits.test.expect("a test part"), "next"), ["bc"]);
    let splits = folder.load("text:DIR/a.txt?window=2&stride=1&split=0.25").expect("sound");
    // Of `ab`, `bc`, `cd`, `de` the last is set apart; two before it share letters with it or with what comes next.
    assert_eq!(windows(&splits.train, "token"), ["ab"]);
    assert_eq!(windows(&splits.test.expect("set apart"), "token"), ["de"]);
}

#[test]
fn windows_are_as_long_as_the_model_takes_them() {
    let folder = Folder::with(&[("t.txt", b"abcdefgh")]);
    let spec = format!("text:{}", folder.path().join("t.txt").display());
    let want = |name: &str, is_target| Want {
        name: name.to_owned(),
        elem: ElemType::I32,
        shape: vec![3],
        is_target,
    };
    let wants = [want("letters", false), want("following", true)];
    let train = spec.parse::<DataSpec>().expect("a form").load_for(&wants).expect("sound").train;
    assert_eq!(windows(&train, "letters"), ["abc", "def"]);
    assert_eq!(windows(&train, "following"), ["bcd", "efg"]);
}

#[test]
fn faults_are_named_with_their_place() {
    let folder = Folder::with(&[
        ("t.txt", b"abc"),
        ("bad.txt", b"ab\xFFc"),
        ("empty.txt", b""),
        ("v.txt", b"a\nb\n"),
        ("twice.txt", b"a\nb\na\n"),
        ("gap.txt", b"a\n\nb\n"),
        ("wide.txt", "abä".as_bytes()),
    ]);
    for (spec, expected) in [
        (
            "text:DIR/t.txt",
            "data `DIR/t.txt` have no window of 64 tokens and one more: the longest text has 3; pass a smaller `window`",
        ),
        (
            "text:DIR/empty.txt",
            "data `DIR/empty.txt` have no window of 64 tokens and one more: the longest text has 0; pass a smaller `window`",
        ),
        (
            "text:DIR/bad.txt",
            "`DIR/bad.txt`, byte 2: these bytes are no UTF-8; pass `unit=byte` to take bytes as they are",
        ),
        (
            "text:DIR/t.txt?vocab=DIR/v.txt&window=1",
            "`DIR/t.txt`, byte 2: `c` is not in the vocabulary; a line `<unk>` there would stand for all that is not",
        ),
        (
            "text:DIR/wide.txt?vocab=DIR/v.txt&window=1",
            "`DIR/wide.txt`, byte 2: `ä` is not in the vocabulary; a line `<unk>` there would stand for all that is not",
        ),
        (
            "text:DIR/t.txt?vocab=DIR/v.txt&window=1&unit=word",
            "`DIR/t.txt`, byte 0: `abc` is not in the vocabulary; a line `<unk>` there would stand for all that is not",
        ),
        (
            "text:DIR/t.txt?vocab=DIR/twice.txt",
            "`DIR/twice.txt`, line 3: the token `a` is there already",
        ),
        (
            "text:DIR/t.txt?vocab=DIR/gap.txt",
            "`DIR/gap.txt`, line 2: a vocabulary has one token a line, and this line is empty; `\\n` stands for a line \
             end, `\\s` for a space",
        ),
        (
            "text:DIR/t.txt?vocab=DIR/empty.txt",
            "`DIR/empty.txt`, byte 0: a vocabulary has one token a line, and this line is empty; `\\n` stands for a line \
             end, `\\s` for a space",
        ),
        (
            "text:DIR/t.txt?vocab=DIR/bad.txt",
            "`DIR/bad.txt`, byte 2: these bytes are no UTF-8; pass `unit=byte` to take bytes as they are",
        ),
        (
            "text:DIR/t.txt?window=1&split=0.9",
            "data `DIR/t.txt` have 2 examples, of which `split=0.9` cannot set some apart and keep some",
        ),
        ("text:DIR/n.txt", "could not read `DIR/n.txt`: No such file or directory (os error 2)"),
        ("text:a?unit=line", "option `unit` takes `char`, `byte` or `word`, not `line`"),
        ("text:a?window=0", "option `window` takes a whole number from 1 on, not `0`"),
        ("text:a?stride=x", "option `stride` takes a whole number from 1 on, not `x`"),
    ] {
        assert_eq!(folder.error(spec), expected, "{spec}");
    }
}
