//! Tables of text.

use dlc_abi::ElemType;
use dlc_data::{ColumnKind, DataSpec, Want};

use crate::folder::{Folder, integers, reals};

const PEOPLE: &str = "\
age,city,height,group
30,Berlin,1.75,a
40,\"Paris, France\",1.5,b
 50 , Berlin ,2,a
";

#[test]
fn numbers_and_names_are_packed_and_the_label_stands_alone() {
    let folder = Folder::with(&[("t.csv", PEOPLE.as_bytes())]);
    let train = folder.load("csv:DIR/t.csv?label=group").expect("a sound table").train;
    assert_eq!(train.column("features").expect("a column").shape(), [4]);
    let rows = [30.0, 1.0, 0.0, 1.75, 40.0, 0.0, 1.0, 1.5, 50.0, 1.0, 0.0, 2.0];
    assert_eq!(reals(&train, "features"), rows);
    assert_eq!(integers(&train, "group"), [0, 1, 0]);
    let group = train.column("group").expect("a column");
    assert_eq!(group.class_names(), Some(&["a".to_owned(), "b".to_owned()][..]));
    assert_eq!(group.kind(), ColumnKind::Label);
}

#[test]
fn columns_are_chosen_and_left_out() {
    let folder = Folder::with(&[("t.csv", PEOPLE.as_bytes())]);
    let features = |options: &str| {
        let splits = folder.load(&format!("csv:DIR/t.csv?{options}")).expect("a sound table");
        reals(&splits.train, "features")
    };
    assert_eq!(features("label=group&drop=city"), [30.0, 1.75, 40.0, 1.5, 50.0, 2.0]);
    assert_eq!(features("features=height,age"), [1.75, 30.0, 1.5, 40.0, 2.0, 50.0]);
    let by_age = "label=group&features=age&text=age";
    assert_eq!(features(by_age), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let train = folder.load("csv:DIR/t.csv?label=height&drop=city,group").expect("sound").train;
    let height = train.column("height").expect("a column");
    assert_eq!((height.elem(), height.kind()), (ElemType::F32, ColumnKind::Features));
    assert_eq!(reals(&train, "height"), [1.75, 1.5, 2.0]);
}

#[test]
fn a_column_that_is_called_as_an_input_stands_alone() {
    let folder = Folder::with(&[("t.csv", PEOPLE.as_bytes())]);
    let spec = format!("csv:{}/t.csv?label=group", folder.path().display());
    let spec: DataSpec = spec.parse().expect("a known form");
    let city = Want { name: "city".into(), elem: ElemType::I32, shape: vec![], is_target: false };
    let train = spec.load_for(&[city]).expect("a sound table").train;
    assert_eq!(integers(&train, "city"), [0, 1, 0]);
    assert_eq!(reals(&train, "features"), [30.0, 1.75, 40.0, 1.5, 50.0, 2.0]);
}

#[test]
fn missing_values_are_filled_as_told() {
    let table = "x,city,label\n1,A,0\n,B,1\n4,NA,2\n";
    let folder = Folder::with(&[("t.csv", table.as_bytes())]);
    let load = |missing: &str| {
        let splits = folder.load(&format!("csv:DIR/t.csv?missing={missing}")).expect("sound");
        (reals(&splits.train, "features"), integers(&splits.train, "label"))
    };
    // One number for each of `A`, `B` and `?`.
    let rows = |x: f32| vec![1.0, 1.0, 0.0, 0.0, x, 0.0, 1.0, 0.0, 4.0, 0.0, 0.0, 1.0];
    assert_eq!(load("mean"), (rows(2.5), vec![0, 1, 2]));
    assert_eq!(load("-7.5"), (rows(-7.5), vec![0, 1, 2]));
    // The only line without a gap leaves one category.
    assert_eq!(load("drop"), (vec![1.0, 1.0], vec![0]));
}

#[test]
fn files_follow_one_another_and_the_test_part_has_the_same_categories() {
    let folder = Folder::with(&[
        ("a-1.csv", b"x;label\n1;b\n2;a\n"),
        ("a-2.csv", b"x;label\n3;b\n"),
        ("test.csv", b"x;label\n4;c\n5;b\n"),
    ]);
    let spec = "csv:DIR/a-*.csv?delimiter=;&test=DIR/test.csv";
    let splits = folder.load(spec).expect("sound tables");
    let test = splits.test.expect("a test part");
    assert_eq!(integers(&splits.train, "label"), [1, 0, 1]);
    assert_eq!(integers(&test, "label"), [2, 1]);
    assert_eq!(reals(&test, "features"), [4.0, 5.0]);
    assert_eq!(splits.train.column("label").expect("a column").n_classes(), Some(3));
}

#[test]
fn lines_without_names_and_other_line_ends_are_read() {
    for table in ["1\t10\n2\t20\n", "1\t10\r\n2\t20", "\u{FEFF}1\t10\n\n2\t20\n\n"] {
        let folder = Folder::with(&[("t.csv", table.as_bytes())]);
        let spec = "csv:DIR/t.csv?header=no&delimiter=tab&label=2";
        let train = folder.load(spec).expect("a sound table").train;
        assert_eq!(reals(&train, "features"), [1.0, 2.0]);
        assert_eq!(integers(&train, "2"), [10, 20]);
    }
}

#[test]
fn faults_are_named_with_line_and_column() {
    let many: String = (0..1001).map(|i| format!("name {i}\n")).collect();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("", vec![], ", line 1: the table has no line of values"),
        ("", b"x,label\n".to_vec(), ": the table has no line of values"),
        (
            "",
            b"1,2\n3,4\n".to_vec(),
            ", line 1: the first line holds numbers alone, not names of columns; pass `header=no` if it is an example",
        ),
        ("", b"x,x\n1,2\n".to_vec(), ", line 1: two columns are named `x`"),
        ("", b"x,y\n1,2\n3\n".to_vec(), ", line 3: 1 fields, but the lines before have 2"),
        ("", b"x,y\n1,2\n3,4,5\n".to_vec(), ", line 3: 3 fields, but the lines before have 2"),
        ("", b"x,y\n1,2\n\n\"3\n,4\n".to_vec(), ", line 4: 1 fields, but the lines before have 2"),
        ("", b"x,y\n1,\xFF\n".to_vec(), ", line 2: this line is no UTF-8"),
        ("", b"\xFFx,y\n1,2\n".to_vec(), ", line 1: this line is no UTF-8"),
        (
            "",
            b"x,y\n1,2\n3,\n".to_vec(),
            ", line 3, column `y`: the value is missing; `missing=mean` fills in the mean, `missing=0` a number, \
             `missing=drop` leaves the line out",
        ),
        (
            "?label=y&missing=0",
            b"x,y\n1,2\n3,NA\n".to_vec(),
            ", line 3, column `y`: the label is missing; `missing=drop` leaves the line out",
        ),
        ("?missing=drop", b"x,y\n1,?\n,2\n".to_vec(), ": the table has no line of values"),
        (
            "",
            b"x,y\n1,2\n3,4\n5,6a\n".to_vec(),
            ", line 4, column `y`: `6a` is no number, as other values of the column are; correct it, or pass `text=y` \
             if they are names",
        ),
        (
            "",
            b"x,y\n1,many\n3,4\n".to_vec(),
            ", line 2, column `y`: `many` is no number, as other values of the column are; correct it, or pass `text=y` \
             if they are names",
        ),
        (
            "",
            b"x\n1\ninf\n".to_vec(),
            ", line 3, column `x`: `inf` is no number, as other values of the column are; correct it, or pass `text=x` \
             if they are names",
        ),
        (
            "",
            format!("x\n{many}").into_bytes(),
            ", line 1002, column `x`: the column has more than 1000 different texts; `drop=x` leaves it out",
        ),
        (
            "?label=z",
            b"x,y\n1,2\n".to_vec(),
            ", line 1: option `label` names the column `z`, but the columns are `x`, `y`",
        ),
        (
            "?drop=y,z",
            b"x,y\n1,2\n".to_vec(),
            ", line 1: option `drop` names the column `z`, but the columns are `x`, `y`",
        ),
        (
            "?features=a",
            b"x,y\n1,2\n".to_vec(),
            ", line 1: option `features` names the column `a`, but the columns are `x`, `y`",
        ),
        (
            "?text=a",
            b"x,y\n1,2\n".to_vec(),
            ", line 1: option `text` names the column `a`, but the columns are `x`, `y`",
        ),
        ("?label=y&drop=x", b"x,y\n1,2\n".to_vec(), ": no column is left to learn from"),
    ];
    for (options, bytes, expected) in &cases {
        let folder = Folder::with(&[("t.csv", bytes)]);
        let error = folder.error(&format!("csv:DIR/t.csv{options}"));
        assert_eq!(error, format!("`DIR/t.csv`{expected}"));
    }
    let folder = Folder::with(&[("a.csv", b"x,y\n1,2\n"), ("b.csv", b"y,x\n1,2\n")]);
    assert_eq!(
        folder.error("csv:DIR/*.csv"),
        "`DIR/b.csv`, line 1: the columns are `y`, `x`, but those of `DIR/a.csv` are `x`, `y`"
    );
    for (spec, expected) in [
        (
            "csv:DIR/none.csv",
            "could not read `DIR/none.csv`: No such file or directory (os error 2)",
        ),
        ("csv:a?header=maybe", "option `header` takes `yes` or `no`, not `maybe`"),
        (
            "csv:a?delimiter=ab",
            "option `delimiter` takes one sign such as `;`, `tab` or `space`, not `ab`",
        ),
        (
            "csv:a?missing=median",
            "option `missing` takes `refuse`, `mean`, `drop` or a number, not `median`",
        ),
        ("csv:a?drop=", "option `drop` takes names of columns, separated by commas, not ``"),
    ] {
        assert_eq!(folder.error(spec), expected);
    }
}
