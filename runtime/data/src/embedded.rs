//! The embedded tables `iris` and `wine`; their origin and licence are in the folder `tables`.

use std::sync::Arc;

use crate::column::Column;
use crate::dataset::{Apart, Dataset, Splits};
use crate::error::DataError;

/// The part of the examples to judge by.
const TEST_PART: f64 = 0.2;

/// 150 flowers: `features`, f32 `[4]`, lengths and widths in cm; `label`, one of three species. A fifth is the test part.
///
/// # Errors
/// Only when the program was built with damaged data.
pub fn iris() -> Result<Splits, DataError> {
    embedded("iris", include_str!("../tables/iris.csv"))
}

/// 178 wines: `features`, f32 `[13]`, measurements of very different size; `label`, one of three growers. A fifth is the test part.
///
/// # Errors
/// Only when the program was built with damaged data.
pub fn wine() -> Result<Splits, DataError> {
    embedded("wine", include_str!("../tables/wine_data.csv"))
}

fn embedded(name: &'static str, text: &str) -> Result<Splits, DataError> {
    let damaged = |line| DataError::Embedded { name, line };
    let mut lines = text.lines();
    let mut header = lines.next().into_iter().flat_map(|line| line.split(','));
    let mut count = || header.next().and_then(|n| n.parse::<usize>().ok()).ok_or(damaged(1));
    let (n_examples, n_features) = (count()?, count()?);
    let classes: Arc<[String]> = header.map(str::to_owned).collect();
    let (mut features, mut labels) = (Vec::new(), Vec::new());
    for (index, line) in lines.enumerate() {
        let error = || damaged(index + 2);
        let (values, label) = line.rsplit_once(',').ok_or_else(error)?;
        for value in values.split(',') {
            features.push(value.parse::<f32>().map_err(|_| error())?);
        }
        labels.push(label.parse::<i32>().map_err(|_| error())?);
        if features.len() != labels.len() * n_features {
            return Err(error());
        }
    }
    if labels.len() != n_examples {
        return Err(damaged(labels.len() + 1));
    }
    let features = Column::from_f32("features", &[n_features], features);
    let label = Column::from_labels("label", None, labels).with_class_names(classes);
    let all = Dataset::new(name, vec![features, label])?;
    Splits { train: all, test: None }.set_apart(TEST_PART, Apart::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_complete() {
        // Means of all features and numbers of examples in each class, as the sets' descriptions give them.
        let cases = [
            (iris(), &[5.84, 3.06, 3.76, 1.20][..], [50, 50, 50], "versicolor"),
            (
                wine(),
                &[13.0, 2.34, 2.37, 19.5, 99.7, 2.30, 2.03, 0.36, 1.59, 5.06, 0.96, 2.61, 746.9],
                [59, 71, 48],
                "class_1",
            ),
        ];
        for (splits, means, counts, second) in cases {
            let Splits { train, test } = splits.expect("the embedded set is sound");
            let test = test.expect("a part is set apart");
            let n = train.n_examples() + test.n_examples();
            assert_eq!(test.n_examples(), (n as f64 / 5.0).round() as usize);
            let (mut sums, mut found) = (vec![0.0; means.len()], [0; 3]);
            for data in [&train, &test] {
                let label = data.column("label").expect("a column");
                assert_eq!(label.class_names().map(|names| &names[1][..]), Some(second));
                for example in 0..data.n_examples() as u32 {
                    let (mut row, mut label) = (vec![0.0_f32; means.len()], [0]);
                    data.fetch("features", example, &mut row).expect("in range");
                    data.fetch("label", example, &mut label).expect("in range");
                    found[label[0] as usize] += 1;
                    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(value));
                }
            }
            assert_eq!(found, counts);
            for (sum, mean) in sums.iter().zip(means) {
                assert!((sum / n as f64 / mean - 1.0).abs() < 0.01, "{} {mean}", sum / n as f64);
            }
        }
    }

    #[test]
    fn damage_is_found() {
        for (text, line) in [
            ("", 1),
            ("2,x", 1),
            ("1,2,a\n1,2,0\n1,2,0", 3),
            ("1,2,a\n1,0", 2),
            ("1,1,a\nx,0", 2),
            ("1,1,a\n1,x", 2),
            ("1,1,a\n1", 2),
        ] {
            let error = embedded("t", text).expect_err("damaged");
            assert_eq!(
                error.to_string(),
                format!("the embedded data `t` is damaged at line {line}")
            );
        }
    }
}
