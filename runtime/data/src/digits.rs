//! The embedded set of 1,797 handwritten digits; its origin and licence are in the folder `digits`.

use std::io::Read;
use std::sync::Arc;

use crate::column::{Bytes, Column, ColumnKind, Shard, Stored};
use crate::dataset::{Dataset, Splits};
use crate::error::DataError;
use crate::shuffle::permutation;

/// Images to learn from.
pub const DIGITS_TRAIN: usize = 1437;
/// Images to judge by: about a fifth.
pub const DIGITS_TEST: usize = 360;

const NAME: &str = "digits";
const N_IMAGES: usize = DIGITS_TRAIN + DIGITS_TEST;
const SIDE: usize = 8;
const LARGEST_PIXEL: u8 = 16;
const N_CLASSES: usize = 10;
/// The set comes grouped by writer, so it is split after a fixed shuffle: [`permutation`] of this seed, epoch 0; the first
/// [`DIGITS_TRAIN`] are for training. The seed is part of the set's meaning and never changes.
const SPLIT_SEED: u64 = 1797;

static COMPRESSED: &[u8] = include_bytes!("../digits/digits.csv.gz");

/// The digits: `image`, f32 `[8, 8, 1]`, pixels from 0 to 1 in steps of 1/16; `label`, 0 to 9. The split into 1,437 and 360
/// images is the same for every seed of training.
///
/// # Errors
/// Only when the program was built with damaged data.
pub fn digits() -> Result<Splits, DataError> {
    let (pixels, labels) = parse(COMPRESSED)?;
    let shard = |values: Vec<u8>, pitch| Shard {
        path: None,
        examples: values.len() / pitch,
        bytes: Arc::new(Bytes::Owned(values)),
        start: 0,
        pitch,
        strides: None,
    };
    let (shape, white) = ([SIDE, SIDE, 1], f32::from(LARGEST_PIXEL));
    let shards = vec![shard(pixels, SIDE * SIDE)];
    let image =
        Column::from_shards("image", ColumnKind::Features, &shape, Stored::U8, white, shards)?;
    let shards = vec![shard(labels, 1)];
    let label = Column::from_shards("label", ColumnKind::Label, &[], Stored::U8, 1.0, shards)?
        .with_classes(N_CLASSES);
    let all = Dataset::new(NAME, vec![image, label])?;
    let mut order = vec![0; all.n_examples()];
    permutation(SPLIT_SEED, 0, &mut order);
    Ok(Splits {
        train: all.select("digits (training)", &order[..DIGITS_TRAIN])?,
        test: Some(all.select("digits (test)", &order[DIGITS_TRAIN..])?),
    })
}

/// Pixels and labels from lines of 64 pixels and a label.
fn parse(compressed: &[u8]) -> Result<(Vec<u8>, Vec<u8>), DataError> {
    let damaged = |line| DataError::Embedded { name: NAME, line };
    let mut text = String::new();
    flate2::read::GzDecoder::new(compressed).read_to_string(&mut text).map_err(|_| damaged(0))?;
    let mut pixels = Vec::with_capacity(N_IMAGES * SIDE * SIDE);
    let mut labels = Vec::with_capacity(N_IMAGES);
    for (index, line) in text.lines().enumerate() {
        let error = || damaged(index + 1);
        let (image, label) = line.rsplit_once(',').ok_or_else(error)?;
        for field in image.split(',') {
            let pixel = field.parse::<u8>().map_err(|_| error())?;
            if pixel > LARGEST_PIXEL {
                return Err(error());
            }
            pixels.push(pixel);
        }
        labels.push(label.parse::<u8>().map_err(|_| error())?);
        if pixels.len() != labels.len() * SIDE * SIDE {
            return Err(error());
        }
    }
    if labels.len() != N_IMAGES {
        return Err(damaged(labels.len()));
    }
    Ok((pixels, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_is_complete_and_scaled() {
        let Splits { train, test } = digits().expect("the embedded set is sound");
        let test = test.expect("the digits have a test set");
        assert_eq!((train.n_examples(), test.n_examples()), (1437, 360));
        let mut counts = [0; 10];
        let mut sum = 0.0_f64;
        for data in [&train, &test] {
            let image = data.column("image").expect("a column");
            assert_eq!((image.shape(), image.kind()), (&[8, 8, 1][..], ColumnKind::Features));
            assert_eq!(data.column("label").expect("a column").n_classes(), Some(10));
            for example in 0..data.n_examples() as u32 {
                let (mut pixels, mut label) = ([0.0_f32; 64], [0]);
                data.fetch("image", example, &mut pixels).expect("in range");
                data.fetch("label", example, &mut label).expect("in range");
                assert!(
                    pixels.iter().all(|p| (0.0..=1.0).contains(p) && (p * 16.0).fract() == 0.0)
                );
                sum += pixels.iter().map(|&p| f64::from(p)).sum::<f64>();
                counts[label[0] as usize] += 1;
            }
        }
        // Known of the whole set: images per class, and the sum of all pixels.
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(sum * 16.0, 561_718.0);
    }

    #[test]
    fn the_split_is_fixed() {
        // Lines of the file, counted from 0, that lead each part; from an independent program.
        let all = parse(COMPRESSED).expect("the embedded set is sound").1;
        let Splits { train, test } = digits().expect("the embedded set is sound");
        let test = test.expect("the digits have a test set");
        let mut labels = [0; 5];
        for (data, lines) in [(train, TRAIN_LINES), (test, TEST_LINES)] {
            data.gather("label", &[0, 1, 2, 3, 4], &mut labels).expect("in range");
            assert_eq!(labels, lines.map(|line: usize| i32::from(all[line])));
        }
    }

    const TRAIN_LINES: [usize; 5] = [1128, 1142, 1467, 1257, 1697];
    const TEST_LINES: [usize; 5] = [1653, 841, 786, 280, 441];

    #[test]
    fn damage_is_found() {
        use std::io::Write;
        let compress = |text: &str| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).expect("memory is writable");
            encoder.finish().expect("memory is writable")
        };
        let line = |pixel: &str, label: &str| format!("{}{pixel},{label}\n", "0,".repeat(63));
        let cases = [
            (line("16", "3"), 1),
            (line("0", "3") + &line("17", "3"), 2),
            (line("x", "3"), 1),
            (line("0", "x"), 1),
            (line("0,0", "3"), 1),
            ("\n".into(), 1),
        ];
        for (text, at) in cases {
            let error = parse(&compress(&text)).expect_err("damaged");
            assert_eq!(
                error.to_string(),
                format!("the embedded data `digits` is damaged at line {at}")
            );
        }
        assert!(parse(&COMPRESSED[..1000]).is_err());
    }
}
