//! Folders of IDX files, sound and broken.

use std::path::Path;

use dlc_data::{Splits, mnist};

use crate::folder::{Folder, gzip};

/// The message of loading a folder, with its own path left out.
fn error_of(folder: &Folder) -> String {
    let error = mnist(folder.path()).expect_err("the folder is broken");
    error.to_string().replace(&*folder.path().to_string_lossy(), "DIR")
}

fn idx(magic: u32, extents: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_be_bytes().to_vec();
    bytes.extend(extents.iter().flat_map(|extent| extent.to_be_bytes()));
    bytes.extend_from_slice(data);
    bytes
}

const IMAGES: u32 = 0x803;
const LABELS: u32 = 0x801;

/// Three images of 2x2: 0 to 11.
fn images() -> Vec<u8> {
    idx(IMAGES, &[3, 2, 2], &(0..12).collect::<Vec<u8>>())
}

fn labels() -> Vec<u8> {
    idx(LABELS, &[3], &[1, 0, 4])
}

fn check_training(splits: &Splits) {
    let train = &splits.train;
    assert_eq!(train.n_examples(), 3);
    assert_eq!(train.column("image").expect("a column").shape(), [2, 2, 1]);
    let mut pixels = [0.0; 8];
    train.gather("image", &[2, 0], &mut pixels).expect("in range");
    assert_eq!(pixels, [8.0, 9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 3.0].map(|p: f32| p / 255.0));
    let mut labels = [0; 3];
    train.gather("label", &[0, 1, 2], &mut labels).expect("in range");
    assert_eq!(labels, [1, 0, 4]);
}

#[test]
fn plain_compressed_and_dotted_files_are_the_same_data() {
    for (suffix, compressed) in [("", false), (".gz", true), ("", true), (".gz", false)] {
        for separator in ["-", "."] {
            let folder = Folder::new();
            let encode = |bytes: Vec<u8>| if compressed { gzip(&bytes) } else { bytes };
            folder.write(&format!("train-images{separator}idx3-ubyte{suffix}"), &encode(images()));
            folder.write(&format!("train-labels{separator}idx1-ubyte{suffix}"), &encode(labels()));
            let splits = mnist(folder.path()).expect("a sound folder");
            check_training(&splits);
            assert!(splits.test.is_none());
            let label = splits.train.column("label").expect("a column");
            assert_eq!(label.n_classes(), Some(5));
        }
    }
}

#[test]
fn a_test_set_is_read_when_it_is_there_and_may_know_more_classes() {
    let folder = Folder::new();
    folder.write("train-images-idx3-ubyte", &images());
    folder.write("train-labels-idx1-ubyte.gz", &gzip(&labels()));
    folder.write("t10k-images-idx3-ubyte", &idx(IMAGES, &[1, 2, 2], &[255, 0, 0, 51]));
    folder.write("t10k-labels-idx1-ubyte", &idx(LABELS, &[1], &[6]));
    let splits = mnist(folder.path()).expect("a sound folder");
    check_training(&splits);
    let test = splits.test.expect("there is a test set");
    let mut pixels = [0.0_f32; 4];
    test.fetch("image", 0, &mut pixels).expect("in range");
    assert_eq!(pixels, [1.0, 0.0, 0.0, 0.2]);
    for data in [&splits.train, &test] {
        assert_eq!(data.column("label").expect("a column").n_classes(), Some(7));
    }
}

/// Training files, either of them broken, and the whole message.
#[test]
fn every_kind_of_damage_is_named_with_its_place() {
    let with = |mut bytes: Vec<u8>, change: &dyn Fn(&mut Vec<u8>)| {
        change(&mut bytes);
        bytes
    };
    let image_cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "byte 0: the header takes 16 bytes, but the file ends here"),
        (vec![0, 0, 8], "byte 3: the header takes 16 bytes, but the file ends here"),
        (images()[..4].to_vec(), "byte 4: the header takes 16 bytes, but the file ends here"),
        (images()[..15].to_vec(), "byte 15: the header takes 16 bytes, but the file ends here"),
        (
            labels(),
            "byte 0: expected the magic number 0x00000803 (images), found the magic number 0x00000801 (labels)",
        ),
        (
            idx(0x0D03, &[3, 2, 2], &[0; 48]),
            "byte 0: expected the magic number 0x00000803 (images), found the magic number 0x00000d03",
        ),
        (
            // Little-endian.
            idx(0x0308_0000, &[3, 2, 2], &[0; 12]),
            "byte 0: expected the magic number 0x00000803 (images), found the magic number 0x03080000",
        ),
        (
            b"<!DOCTYPE html>".to_vec(),
            "byte 0: expected the magic number 0x00000803 (images), found the magic number 0x3c21444f",
        ),
        (idx(IMAGES, &[0, 2, 2], &[]), "byte 4: the number of images is 0"),
        (idx(IMAGES, &[3, 0, 2], &[]), "byte 8: the number of rows is 0"),
        (idx(IMAGES, &[3, 2, 0], &[]), "byte 12: the number of columns is 0"),
        (images()[..16].to_vec(), "byte 16: expected 28 bytes in all, but the data end here"),
        (images()[..27].to_vec(), "byte 27: expected 28 bytes in all, but the data end here"),
        (with(images(), &|b| b.push(0)), "byte 28: the data end here, but the file goes on"),
        (
            idx(IMAGES, &[u32::MAX; 3], &[0; 12]),
            "byte 28: expected 18446744073709551615 bytes in all, but the data end here",
        ),
        (
            idx(IMAGES, &[1 << 31, 2, 2], &[0; 12]),
            "byte 28: expected 8589934608 bytes in all, but the data end here",
        ),
    ];
    for (bytes, expected) in &image_cases {
        let folder = Folder::new();
        folder.write("train-images-idx3-ubyte", bytes);
        folder.write("train-labels-idx1-ubyte", &labels());
        assert_eq!(error_of(&folder), format!("`DIR/train-images-idx3-ubyte`, {expected}"));
    }
    let label_cases: Vec<(Vec<u8>, &str)> = vec![
        (labels()[..7].to_vec(), "byte 7: the header takes 8 bytes, but the file ends here"),
        (
            images(),
            "byte 0: expected the magic number 0x00000801 (labels), found the magic number 0x00000803 (images)",
        ),
        (idx(LABELS, &[0], &[]), "byte 4: the number of labels is 0"),
        (labels()[..10].to_vec(), "byte 10: expected 11 bytes in all, but the data end here"),
    ];
    for (bytes, expected) in &label_cases {
        let folder = Folder::new();
        folder.write("train-images-idx3-ubyte", &images());
        folder.write("train-labels-idx1-ubyte", bytes);
        assert_eq!(error_of(&folder), format!("`DIR/train-labels-idx1-ubyte`, {expected}"));
    }
}

#[test]
fn damaged_compressed_files_are_named_with_their_place() {
    let sound = gzip(&images());
    let (body, checksum) = sound.split_at(sound.len() - 8);
    let wrong_checksum = [body, &[0; 4], &checksum[4..]].concat();
    let wrong_length = [body, &checksum[..4], &[0; 4]].concat();
    let huge = gzip(&idx(IMAGES, &[u32::MAX; 3], &[0; 12]));
    let large = gzip(&idx(IMAGES, &[1000, 1000, 1000], &[0; 12]));
    let cases: Vec<(Vec<u8>, String)> = vec![
        (sound[..5].to_vec(), ": the gzip stream is damaged after 0 decompressed bytes".into()),
        (
            sound[..sound.len() - 4].to_vec(),
            ": the gzip stream is damaged after 28 decompressed bytes".into(),
        ),
        (wrong_checksum, ": the gzip stream is damaged after 28 decompressed bytes".into()),
        (wrong_length, ": the gzip stream is damaged after 28 decompressed bytes".into()),
        (
            [&[0x1F, 0x8B, 99][..], &sound[3..]].concat(),
            ": the gzip stream is damaged after 0 decompressed bytes".into(),
        ),
        ([&sound[..], b"xyz"].concat(), ": 3 bytes follow the end of the gzip stream".into()),
        (
            [&sound[..], &sound[..]].concat(),
            format!(": {} bytes follow the end of the gzip stream", sound.len()),
        ),
        (
            gzip(&images()[..20]),
            ", byte 20: expected 28 bytes in all, but the data end here".into(),
        ),
        (
            gzip(&[images(), vec![7]].concat()),
            ", byte 28: the data end here, but the file goes on".into(),
        ),
        (gzip(&[]), ", byte 0: the header takes 16 bytes, but the file ends here".into()),
        (
            gzip(&labels()),
            ", byte 0: expected the magic number 0x00000803 (images), found the magic number 0x00000801 (labels)"
                .into(),
        ),
        (
            huge.clone(),
            format!(
                ", byte 4: the header promises 79228162458924105385300197375 bytes of data, \
                 but a file of {} bytes cannot hold more than {}",
                huge.len(),
                huge.len() * 1032
            ),
        ),
        (
            large.clone(),
            format!(
                ", byte 4: the header promises 1000000000 bytes of data, but a file of {} bytes cannot hold more than {}",
                large.len(),
                large.len() * 1032
            ),
        ),
        // A small header over a stream that would fill the memory: only one byte too many is ever decoded.
        (
            gzip(&[images(), vec![0; 1 << 24]].concat()),
            ", byte 28: the data end here, but the file goes on".into(),
        ),
    ];
    for (bytes, expected) in &cases {
        let folder = Folder::new();
        folder.write("train-images-idx3-ubyte.gz", bytes);
        folder.write("train-labels-idx1-ubyte.gz", &gzip(&labels()));
        assert_eq!(error_of(&folder), format!("`DIR/train-images-idx3-ubyte.gz`{expected}"));
    }
}

#[test]
fn every_cut_and_every_flipped_bit_is_an_error_or_sound_data() {
    // No input may panic or hang, whatever it decodes to.
    let (plain, compressed) = (images(), gzip(&images()));
    let mut variants = Vec::new();
    for bytes in [&plain, &compressed] {
        variants.extend((0..bytes.len()).map(|end| bytes[..end].to_vec()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            variants.push(flipped);
        }
    }
    let folder = Folder::new();
    folder.write("train-labels-idx1-ubyte", &labels());
    let mut sound = 0;
    for bytes in &variants {
        folder.write("train-images-idx3-ubyte", bytes);
        if let Ok(splits) = mnist(folder.path()) {
            sound += 1;
            assert_eq!(splits.train.n_examples(), 3);
        }
    }
    // A changed pixel of a plain file, 12 bytes of 8 bits, cannot be noticed; nor can the bytes of the gzip header that
    // mean nothing: time, flags of the compressor, system. A swap of the two extents 2x2 is no change.
    assert!((96..96 + 80).contains(&sound), "{sound} of {}", variants.len());
}

#[test]
fn files_that_do_not_fit_together_are_named() {
    let folder = Folder::new();
    let text = |error: &str| error.to_owned();
    assert_eq!(
        error_of(&folder),
        text("`DIR` has no `train-images-idx3-ubyte`, neither plain nor with `.gz`")
    );
    folder.write("train-images-idx3-ubyte", &images());
    assert_eq!(
        error_of(&folder),
        text("`DIR` has no `train-labels-idx1-ubyte`, neither plain nor with `.gz`")
    );
    folder.write("train-labels-idx1-ubyte.gz", &gzip(&idx(LABELS, &[2], &[0, 1])));
    assert_eq!(
        error_of(&folder),
        text(
            "`DIR/train-images-idx3-ubyte` holds 3 images, but `DIR/train-labels-idx1-ubyte.gz` holds 2 labels"
        )
    );
    folder.write("train-labels-idx1-ubyte.gz", &gzip(&labels()));
    folder.write("t10k-labels-idx1-ubyte", &labels());
    assert_eq!(
        error_of(&folder),
        text("`DIR` has no `t10k-images-idx3-ubyte`, neither plain nor with `.gz`")
    );
    folder.write("t10k-images-idx3-ubyte", &idx(IMAGES, &[3, 1, 5], &[0; 15]));
    assert_eq!(
        error_of(&folder),
        text(
            "the images of `DIR/train-images-idx3-ubyte` are 2x2, those of `DIR/t10k-images-idx3-ubyte` are 1x5"
        )
    );
    let nowhere = mnist(Path::new("/nowhere")).expect_err("there is no such folder");
    assert_eq!(
        nowhere.to_string(),
        "`/nowhere` has no `train-images-idx3-ubyte`, neither plain nor with `.gz`"
    );
}
