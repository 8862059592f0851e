//! `.npy` and `.npz` files.

use proptest::prelude::*;

use crate::folder::{Folder, integers, read_all, reals};

/// A version 1 array with a header of the usual length.
fn npy(descr: &str, column_major: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if column_major { "True" } else { "False" };
    raw(&format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"), data)
}

fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16 + 1).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.push(b'\n');
    bytes.extend_from_slice(data);
    bytes
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Three rows of two numbers.
fn x() -> Vec<u8> {
    npy("'<f4'", false, "(3, 2)", &f32s(&[0.0, 0.5, 1.0, 1.5, 2.0, 2.5]))
}

/// Three labels of 64 bits.
fn y() -> Vec<u8> {
    npy("'<i8'", false, "(3,)", &[1_i64, 0, 2].map(i64::to_le_bytes).concat())
}

/// An archive of files that are stored as they are.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in files {
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let (crc, size) = (crc.sum().to_le_bytes(), (data.len() as u32).to_le_bytes());
        let names = [(name.len() as u16).to_le_bytes(), [0; 2]].concat();
        // Version, flags, method; time and date; sizes; lengths of name and extra field.
        let common = [&[20, 0, 0, 0, 0, 0][..], &[0; 4], &crc, &size, &size, &names].concat();
        let local = (bytes.len() as u32).to_le_bytes();
        directory.extend([&b"PK\x01\x02\x14\x00"[..], &common, &[0; 10], &local].concat());
        directory.extend_from_slice(name.as_bytes());
        bytes.extend([&b"PK\x03\x04"[..], &common, name.as_bytes(), data].concat());
    }
    let (count, start) = ((files.len() as u16).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
    let length = (directory.len() as u32).to_le_bytes();
    bytes.extend(directory);
    bytes.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &length, &start, &[0, 0]].concat());
    bytes
}

const STORED: &[u8] = include_bytes!("numpy/stored.npz");
const DEFLATED: &[u8] = include_bytes!("numpy/deflated.npz");

#[test]
fn archives_that_numpy_wrote_are_read() {
    for bytes in [STORED, DEFLATED] {
        let folder = Folder::with(&[("a.npz", bytes)]);
        let splits = folder.load("npz:DIR/a.npz?scale=2").expect("it is sound");
        let test = splits.test.expect("there is a test part");
        let train = &splits.train;
        assert_eq!((train.n_examples(), test.n_examples()), (3, 1));
        assert_eq!(train.column("image").expect("a column").shape(), [2, 2, 2]);
        assert_eq!(reals(train, "image"), (0..24).map(|i| i as f32 / 2.0).collect::<Vec<_>>());
        assert_eq!(reals(&test, "image"), (100..108).map(|i| i as f32 / 2.0).collect::<Vec<_>>());
        assert_eq!(integers(train, "label"), [2, 0, 1]);
        assert_eq!(train.column("label").expect("a column").n_classes(), Some(4));
        let values: Vec<f32> = (0..12).map(|i| i as f32 / 16.0).collect();
        assert_eq!(reals(train, "column_major"), values);
        assert_eq!(reals(&test, "column_major"), [0.0, -0.5, -1.0, -1.5]);
    }
}

#[test]
fn arrays_are_named_by_file_or_text_and_follow_one_another() {
    let folder = Folder::with(&[("x-2.npy", &x()), ("x-10.npy", &x()), ("labels.npy", &y())]);
    let error = folder.error("npy:DIR/x-*.npy,DIR/labels.npy");
    assert_eq!(
        error,
        "column `labels` of data `DIR/x-*.npy,DIR/labels.npy` has 3 values, which are not 6 examples of shape []"
    );
    let splits = folder.load("npy:DIR/x-2.npy,label=DIR/labels.npy").expect("they fit together");
    assert_eq!(integers(&splits.train, "label"), [1, 0, 2]);
    assert_eq!(reals(&splits.train, "x-2"), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
    let splits = folder.load("npy:DIR/x-*.npy?split=0.34").expect("they agree");
    let test = splits.test.expect("a part was set apart");
    assert_eq!((splits.train.n_examples(), test.n_examples()), (4, 2));
    let mut all = [reals(&splits.train, "x"), reals(&test, "x")].concat();
    all.sort_by(f32::total_cmp);
    assert_eq!(all, [0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0, 2.5, 2.5]);
    let splits = folder.load("npy:x=DIR/x-2.npy?test=x=DIR/x-10.npy").expect("they agree");
    assert_eq!(splits.test.expect("a test part").n_examples(), 3);
}

#[test]
fn archives_follow_one_another() {
    let archive = zip(&[("x.npy", &x()), ("y.npy", &y())]);
    let folder = Folder::with(&[("a.npz", &archive), ("b.npz", &archive)]);
    let splits = folder.load("npz:DIR/a.npz,DIR/b.npz").expect("they agree");
    assert_eq!(integers(&splits.train, "y"), [1, 0, 2, 1, 0, 2]);
    let splits = folder.load("npz:DIR/a.npz?test=DIR/b.npz").expect("they agree");
    assert_eq!(splits.test.expect("a test part").n_examples(), 3);
}

#[test]
fn every_fault_of_an_array_is_named_with_its_place() {
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], ", byte 0: the header goes on, but the file ends here"),
        (b"\x93NUM".to_vec(), ", byte 4: the header goes on, but the file ends here"),
        (
            b"PK\x03\x04".to_vec(),
            ", byte 0: this is no `.npy` array: it does not begin with `\\x93NUMPY`",
        ),
        (
            b"\x93NUMPY\x04\x00\x10\x00".to_vec(),
            ", byte 6: version 4.0 of the format is not known; 1.0, 2.0 and 3.0 are",
        ),
        (b"\x93NUMPY\x01\x00\x10".to_vec(), ", byte 9: the header goes on, but the file ends here"),
        (
            b"\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF{".to_vec(),
            ", byte 13: the header goes on, but the file ends here",
        ),
        (raw("", &[]), ", byte 11: the header should have `{` here"),
        (raw("{", &[]), ", byte 12: the header should have a string here"),
        (raw("{'descr", &[]), ", byte 11: the header should have a string here"),
        (raw("{'descr' '<f4'}", &[]), ", byte 19: the header should have `:` here"),
        (raw("{'descr': <f4}", &[]), ", byte 20: the header should have a string here"),
        (raw("{'descr': '<f4'", &[]), ", byte 26: the header should have `,` or `}` here"),
        (raw("{'descr': '<f4'}", &[]), ", byte 10: the header has no key `fortran_order`"),
        (
            raw("{'fortran_order': False, 'shape': (1,)}", &[]),
            ", byte 10: the header has no key `descr`",
        ),
        (
            raw("{'descr': '<f4', 'fortran_order': False}", &[]),
            ", byte 10: the header has no key `shape`",
        ),
        (
            raw("{'descr': '<f4', 'descr': '<f4'}", &[]),
            ", byte 27: the header has the key `descr`, which is unknown or there already",
        ),
        (
            raw("{'color': 'red'}", &[]),
            ", byte 11: the header has the key `color`, which is unknown or there already",
        ),
        (
            raw("{'fortran_order': 0}", &[]),
            ", byte 28: the header should have `True` or `False` here",
        ),
        (raw("{'shape': 3}", &[]), ", byte 20: the header should have `(` here"),
        (raw("{'shape': (3", &[]), ", byte 23: the header should have `,` or `)` here"),
        (raw("{'shape': (x,)}", &[]), ", byte 21: the header should have an extent here"),
        (raw("{'shape': (-1,)}", &[]), ", byte 21: the header should have an extent here"),
        (
            raw("{'shape': (99999999999999999999,)}", &[]),
            ", byte 21: the header should have an extent here",
        ),
        (
            raw(&format!("{{'shape': ({})}}", "1, ".repeat(65)), &[]),
            ", byte 213: the array has more than 64 axes",
        ),
        (
            npy("'>f4'", false, "(1,)", &[0; 4]),
            ", byte 20: elements of type `>f4` are not read; save `a.astype('<f4')`",
        ),
        (
            npy("'<f2'", false, "(1,)", &[0; 2]),
            ", byte 20: elements of type `<f2` are not read; save `a.astype('<f4')`",
        ),
        (
            npy("'>i8'", false, "(1,)", &[0; 8]),
            ", byte 20: elements of type `>i8` are not read; save `a.astype('<i4')`",
        ),
        (
            npy("'<U3'", false, "(1,)", &[0; 12]),
            ", byte 20: elements of type `<U3` are not read; save `np.unique(a, return_inverse=True)[1]`",
        ),
        (
            npy("'<c8'", false, "(1,)", &[0; 8]),
            ", byte 20: elements of type `<c8` are not read; save `a.astype('<f4') or a.astype('<i4')`",
        ),
        (
            npy("[('a', '<f4')]", false, "(1,)", &[0; 4]),
            ", byte 20: the elements are records of named fields; save each field as an array of its own: `a['field']`",
        ),
        (
            npy("'<f4'", false, "()", &[0; 4]),
            ", byte 10: this is one number without axes; the first axis of an array counts the examples",
        ),
        (npy("'<f4'", false, "(0, 2)", &[]), ", byte 10: axis 0 of shape [0, 2] is empty"),
        (npy("'<f4'", false, "(2, 0)", &[]), ", byte 10: axis 1 of shape [2, 0] is empty"),
        (
            npy("'<f4'", false, "(3, 2)", &[0; 20]),
            ", byte 90: [3, 2] elements of type float32 take 24 bytes, but 20 follow the header",
        ),
        (
            npy("'<f4'", false, "(3, 2)", &[0; 25]),
            ", byte 94: [3, 2] elements of type float32 take 24 bytes, but 25 follow the header",
        ),
        (
            npy("'<f8'", true, "(18446744073709551615, 18446744073709551615)", &[0; 4]),
            ", byte 111: [18446744073709551615, 18446744073709551615] elements of type float64 take more than \
             can be counted bytes, but 4 follow the header",
        ),
    ];
    for (bytes, expected) in &cases {
        let folder = Folder::with(&[("x.npy", bytes)]);
        assert_eq!(folder.error("npy:DIR/x.npy"), format!("`DIR/x.npy`{expected}"));
    }
}

#[test]
fn every_fault_of_an_archive_is_named_with_its_place() {
    let sound = zip(&[("x.npy", &x())]);
    let with = |at: usize, byte: u8| {
        let mut bytes = sound.clone();
        bytes[at] = byte;
        bytes
    };
    let end = sound.len() - 22;
    let directory = end - 46 - 5;
    let cases: Vec<(Vec<u8>, String)> = vec![
        (vec![], ", byte 0: this is no zip archive, or its end is missing: there is no directory before this byte".into()),
        (
            sound[..sound.len() - 1].to_vec(),
            format!(
                ", byte {}: this is no zip archive, or its end is missing: there is no directory before this byte",
                sound.len() - 1
            ),
        ),
        (with(end, b'X'), format!(
            ", byte {}: this is no zip archive, or its end is missing: there is no directory before this byte",
            sound.len()
        )),
        (
            with(end + 18, 1),
            format!(", byte {}: the directory should begin at byte {}, which is not before its end", end + 16, (1 << 16) + directory),
        ),
        (with(end + 10, 2), format!(", byte {end}: the directory is damaged")),
        (with(end + 10, 0), ", byte 0: the archive holds no array".into()),
        (with(directory, 0), format!(", byte {directory}: the directory is damaged")),
        (with(directory + 28, 255), format!(", byte {directory}: the directory is damaged")),
        (with(directory + 8, 1), format!(", byte {directory}: `x.npy` is encrypted; unpack the archive first")),
        (
            with(directory + 10, 14),
            format!(", byte {directory}: `x.npy` is packed by method 14; stored (0) and deflated (8) files are read"),
        ),
        (with(directory + 44, 1), format!(", byte {directory}: `x.npy` does not lie within the archive")),
        (with(0, 0), format!(", byte {directory}: `x.npy` does not lie within the archive")),
        (with(directory + 22, 1), format!(", byte {directory}: `x.npy` does not lie within the archive")),
        (
            with(directory + 24, 1),
            format!(", byte {directory}: `x.npy` is said to have 1 bytes, but its 94 packed bytes stand for at most 94"),
        ),
        (
            with(directory + 10, 8),
            ", byte 35: `x.npy` is damaged: after 6 bytes, length or checksum are wrong".into(),
        ),
        (
            zip(&[("x.npy", b"\x93NUMPY\x01\x00\x10\x00{")]),
            ", array `x`, byte 11: the header goes on, but the file ends here".into(),
        ),
        (zip(&[("readme.txt", b"hello")]), ", byte 40: `readme.txt` is no `.npy` array; an archive of examples holds arrays alone".into()),
    ];
    for (bytes, expected) in &cases {
        let folder = Folder::with(&[("a.npz", bytes)]);
        assert_eq!(folder.error("npz:DIR/a.npz"), format!("`DIR/a.npz`{expected}"));
    }
}

#[test]
fn files_that_do_not_fit_together_are_named() {
    let short = npy("'<f4'", false, "(2, 3)", &[0; 24]);
    let bytes = npy("'|u1'", false, "(3, 2)", &[0; 6]);
    let wide = npy("'<i8'", false, "(3,)", &[1, 0, 1 << 40].map(i64::to_le_bytes).concat());
    let folder = Folder::with(&[
        ("x.npy", &x()),
        ("y.npy", &y()),
        ("x-short.npy", &short),
        ("x-bytes.npy", &bytes),
        ("wide.npy", &wide),
        ("xy.npz", &zip(&[("x.npy", &x()), ("y.npy", &y())])),
        ("x.npz", &zip(&[("x.npy", &x())])),
        ("twice.npz", &zip(&[("x.npy", &x()), ("x.npy", &x())])),
        ("parts.npz", &zip(&[("x_train.npy", &x()), ("y.npy", &y())])),
        ("both.npz", STORED),
    ]);
    for (spec, expected) in [
        (
            "npy:DIR/none.npy",
            "could not read `DIR/none.npy`: No such file or directory (os error 2)",
        ),
        ("npy:DIR", "could not read `DIR`: is a directory"),
        ("npy:DIR/n*.npy", "`DIR/n*.npy` matches no file; `*` stands for any part of a name"),
        (
            "npy:DIR/x*.npy",
            "column `x` is float32 of shape [3] in `DIR/x-short.npy`, but uint8 of shape [2] in `DIR/x-bytes.npy`; \
             files of one data set must agree",
        ),
        ("npy:a=DIR/x.npy,a=DIR/y.npy", "data `a=DIR/x.npy,a=DIR/y.npy` has two columns named `a`"),
        (
            "npz:DIR/xy.npz,DIR/x.npz",
            "column `y` is not there in `DIR/x.npz`, but int64 of shape [] in `DIR/xy.npz`; files of one data set must agree",
        ),
        (
            "npz:DIR/x.npz,DIR/xy.npz",
            "column `y` is int64 of shape [] in `DIR/xy.npz`, but not there in `DIR/x.npz`; files of one data set must agree",
        ),
        ("npz:DIR/twice.npz", "data `DIR/twice.npz` has two columns named `x`"),
        (
            "npz:DIR/parts.npz",
            "`DIR/parts.npz`: array `y` belongs to no part; beside arrays named `.._train` all others are named \
             `.._train` or `.._test`",
        ),
        (
            "npz:DIR/both.npz?test=DIR/xy.npz",
            "data `DIR/both.npz (training)` have a test part already; leave out `test`",
        ),
        (
            "npz:DIR/both.npz?split=0.5",
            "data `DIR/both.npz (training)` have a test part already; leave out `split`",
        ),
        (
            "npy:DIR/x.npy?split=0.9",
            "data `DIR/x.npy` have 3 examples, of which `split=0.9` cannot set some apart and keep some",
        ),
        (
            "npy:DIR/wide.npy",
            "column `wide` of data `DIR/wide.npy`, example 2 (`DIR/wide.npy`, byte 84): 1099511627776 does not fit into \
             32 bits, which integers of models have",
        ),
    ] {
        assert_eq!(folder.error(spec), expected, "{spec}");
    }
}

/// No input may panic or ask for more memory than the file can fill.
#[test]
fn every_cut_and_every_flipped_bit_is_an_error_or_sound_data() {
    let folder = Folder::new();
    let archive = zip(&[("x.npy", &x())]);
    for (name, spec, bytes) in [
        ("x.npy", "npy:DIR/x.npy", &x()[..]),
        ("a.npz", "npz:DIR/a.npz", &archive),
        ("a.npz", "npz:DIR/a.npz", DEFLATED),
    ] {
        let step = bytes.len() / 50 + 1;
        for end in (0..bytes.len()).step_by(step) {
            folder.write(name, &bytes[..end]);
            assert!(folder.load(spec).is_err(), "cut at {end}");
        }
        for bit in (0..bytes.len() * 8).step_by(step) {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            folder.write(name, &flipped);
            if let Ok(splits) = folder.load(spec) {
                // Values may differ; asking for them must not fail otherwise than with an error.
                let _ = read_all(&splits.train);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What is written comes back, in either order of the axes, whatever the shape.
    #[test]
    fn arrays_come_back(extents in prop::collection::vec(1_usize..5, 1..5), column_major: bool) {
        let n: usize = extents.iter().product();
        let values: Vec<f32> = (0..n).map(|i| i as f32 * 0.25 - 3.0).collect();
        let mut stored = vec![0.0; n];
        for (index, &value) in values.iter().enumerate() {
            let (mut rest, mut at, mut stride) = (index, 0, 1);
            let mut places = vec![0; extents.len()];
            for axis in (0..extents.len()).rev() {
                places[axis] = rest % extents[axis];
                rest /= extents[axis];
            }
            for (axis, place) in places.iter().enumerate() {
                at += place * stride;
                stride *= extents[axis];
            }
            stored[if column_major { at } else { index }] = value;
        }
        let shape: String = extents.iter().map(|extent| format!("{extent}, ")).collect();
        let folder = Folder::with(&[("x.npy", &npy("'<f4'", column_major, &format!("({shape})"), &f32s(&stored)))]);
        let splits = folder.load("npy:DIR/x.npy").expect("it is sound");
        prop_assert_eq!(splits.train.column("x").expect("a column").shape(), &extents[1..]);
        prop_assert_eq!(reals(&splits.train, "x"), values);
    }
}
