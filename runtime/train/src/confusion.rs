//! Which classes a classifier takes for which.

use dlc_data::{ColumnKind, Dataset};

use crate::error::TrainError;
use crate::session::Session;
use crate::tensor::{Data, Tensor};

/// How often examples of a class were taken for each class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    n_classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// How many classes there are.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// How many examples of class `label` were taken for class `predicted`.
    ///
    /// # Panics
    /// When there is no such class.
    pub fn count(&self, label: usize, predicted: usize) -> u64 {
        assert!(
            label < self.n_classes && predicted < self.n_classes,
            "classes are 0..{}",
            self.n_classes
        );
        self.counts[label * self.n_classes + predicted]
    }
}

impl Session {
    /// The confusion matrix of a data set, where the model is a classifier of it: the data have one column of labels, and the
    /// model's first result is one number for each of its classes, the largest of which counts.
    ///
    /// # Errors
    /// When the data do not fit the model's inputs, or a step fails.
    pub fn confusion(&self, dataset: &Dataset) -> Result<Option<Confusion>, TrainError> {
        let mut labels =
            dataset.columns().iter().filter(|column| column.kind() == ColumnKind::Label);
        let (Some(column), None) = (labels.next(), labels.next()) else { return Ok(None) };
        let Some(n_classes) = column.n_classes() else { return Ok(None) };
        let classifies = self.predict_results().first().is_some_and(|result| {
            let extents: Vec<_> = result.shape.iter().map(|dim| dim.as_fixed()).collect();
            extents == [None, i64::try_from(n_classes).ok()]
        });
        if !classifies {
            return Ok(None);
        }
        let results = self.predict_on(dataset)?;
        let Some((_, Tensor { data: Data::F32(scores), .. })) = results.first() else {
            return Ok(None);
        };
        let mut counts = vec![0; n_classes * n_classes];
        for (example, scores) in scores.chunks_exact(n_classes).enumerate() {
            let mut label = [0_i32];
            let example =
                u32::try_from(example).expect("data sets number their examples by 32 bits");
            dataset.fetch(column.name(), example, &mut label)?;
            // `Dataset::new` has checked that labels are below the number of classes.
            counts[label[0] as usize * n_classes + first_greatest(scores)] += 1;
        }
        Ok(Some(Confusion { n_classes, counts }))
    }
}

/// The first of the greatest scores; NaN counts as greatest, as in `argmax` of the language.
fn first_greatest(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, &score) in scores.iter().enumerate().skip(1) {
        if !scores[best].is_nan() && (score > scores[best] || score.is_nan()) {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_greatest_scores_wins() {
        assert_eq!(first_greatest(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(first_greatest(&[2.0, f32::NAN, 3.0, f32::NAN]), 1);
        assert_eq!(first_greatest(&[f32::NEG_INFINITY]), 0);
    }
}
