//! The binary versions of CIFAR.

use crate::folder::{Folder, integers, reals};

/// A record: labels, then three planes of which each pixel is its place, its row and the number of the plane.
fn record(labels: &[u8]) -> Vec<u8> {
    let places = (0..1024).map(|i| (i % 256) as u8);
    let rows = (0..1024).map(|i| (i / 32) as u8);
    [labels.to_vec(), places.collect(), rows.collect(), vec![2; 1024]].concat()
}

fn names(n: usize) -> String {
    (0..n).map(|i| format!("class {i}\n")).collect()
}

#[test]
fn records_are_images_with_channels_last() {
    let folder = Folder::with(&[
        ("data_batch_1.bin", &[record(&[3]), record(&[9])].concat()),
        ("data_batch_2.bin", &record(&[0])),
        ("test_batch.bin", &record(&[7])),
        ("batches.meta.txt", format!("{}\n", names(10)).as_bytes()),
    ]);
    let splits = folder.load("cifar10:DIR").expect("a sound folder");
    let label = splits.train.column("label").expect("a column");
    assert_eq!(label.class_names().map(|names| &*names[9]), Some("class 9"));
    assert_eq!(integers(&splits.train, "label"), [3, 9, 0]);
    assert_eq!(integers(splits.test.as_ref().expect("a test part"), "label"), [7]);
    let image = &reals(&splits.train, "image")[2 * 3072..];
    for (pixel, values) in image.chunks(3).enumerate() {
        let expected = [pixel % 256, pixel / 32, 2].map(|value| value as f32 / 255.0);
        assert_eq!(values, expected, "pixel {pixel}");
    }
}

#[test]
fn a_hundred_classes_have_two_labels_each() {
    let folder = Folder::with(&[
        ("cifar-100-binary/train.bin", &[record(&[19, 99]), record(&[0, 1])].concat()),
        ("cifar-100-binary/fine_label_names.txt", names(100).as_bytes()),
    ]);
    let fine = folder.load("cifar100:DIR").expect("a sound folder");
    assert_eq!(integers(&fine.train, "label"), [99, 1]);
    assert_eq!(fine.train.column("label").expect("a column").n_classes(), Some(100));
    assert!(fine.test.is_none());
    let coarse = folder.load("cifar100:DIR?labels=coarse&split=0.5").expect("a sound folder");
    let test = coarse.test.expect("one was set apart");
    let mut labels = [integers(&coarse.train, "label"), integers(&test, "label")].concat();
    labels.sort_unstable();
    assert_eq!(labels, [0, 19]);
}

#[test]
fn faults_are_named_with_their_place() {
    let sound = record(&[3]);
    let cases: [(&str, &str, Vec<u8>, &str); 6] = [
        (
            "cifar10:DIR",
            "other.bin",
            vec![],
            "`DIR/data_batch_*.bin` matches no file; `*` stands for any part of a name",
        ),
        (
            "cifar10:DIR",
            "data_batch_1.bin",
            vec![],
            "`DIR/data_batch_1.bin`, byte 0: the file is empty; it should hold records of 3073 bytes",
        ),
        (
            "cifar10:DIR",
            "data_batch_1.bin",
            [&sound[..], &sound[..9]].concat(),
            "`DIR/data_batch_1.bin`, byte 3073: a file of 3082 bytes is not made of whole records of 3073 bytes: \
             9 are left over",
        ),
        (
            "cifar100:DIR",
            "train.bin",
            sound.clone(),
            "`DIR/train.bin`, byte 0: a file of 3073 bytes is not made of whole records of 3074 bytes: 3073 are left over",
        ),
        (
            "cifar100:DIR",
            "test.bin",
            sound.clone(),
            "could not read `DIR/train.bin`: No such file or directory (os error 2)",
        ),
        (
            "cifar10:DIR",
            "data_batch_1.bin",
            [sound, record(&[10])].concat(),
            "column `label` of data `DIR (training)`, example 1 (`DIR/data_batch_1.bin`, byte 3073): label 10 is not in 0..10",
        ),
    ];
    for (spec, name, bytes, expected) in cases {
        let folder = Folder::with(&[(name, &bytes)]);
        assert_eq!(folder.error(spec), expected);
    }
    let folder =
        Folder::with(&[("data_batch_1.bin", &record(&[3])), ("batches.meta.txt", b"a\nb\n")]);
    assert_eq!(
        folder.error("cifar10:DIR"),
        "`DIR/batches.meta.txt`: 2 names of classes are given, but there are 10 classes"
    );
}
