//! Scaling with a triangle filter, as wide as the step between pixels when an image is made smaller, so that every pixel counts.
//!
//! First along rows, then along columns, in single precision and in a fixed order: the same bits everywhere.

use super::{Fit, Picture};

/// For each new pixel the first old one that counts, and the weights from there on; their sum is 1.
type Weights = Vec<(usize, Vec<f32>)>;

/// The picture in a size of height and width.
pub(super) fn resize(picture: Picture, [height, width]: [usize; 2], fit: Fit) -> Picture {
    if (picture.height, picture.width) == (height, width) {
        return picture;
    }
    let (old_width, old_height) = (picture.width as f64, picture.height as f64);
    let (step_x, step_y) = (old_width / width as f64, old_height / height as f64);
    let (step_x, step_y) = match fit {
        Fit::Stretch => (step_x, step_y),
        Fit::Crop => (step_x.min(step_y), step_x.min(step_y)),
    };
    // What is not covered is cut off in equal parts.
    let left = (old_width - step_x * width as f64) / 2.0;
    let top = (old_height - step_y * height as f64) / 2.0;
    let columns = weights(picture.width, width, left, step_x);
    let rows = weights(picture.height, height, top, step_y);
    let channels = picture.channels;
    let row_len = width * channels;
    let mut narrow = vec![0.0_f32; picture.height * row_len];
    for (row, old) in
        narrow.chunks_exact_mut(row_len).zip(picture.pixels.chunks_exact(picture.width * channels))
    {
        for (pixel, (first, weights)) in row.chunks_exact_mut(channels).zip(&columns) {
            for (old, weight) in old[first * channels..].chunks_exact(channels).zip(weights) {
                for (value, &old) in pixel.iter_mut().zip(old) {
                    *value += f32::from(old) * weight;
                }
            }
        }
    }
    let mut pixels = Vec::with_capacity(height * row_len);
    let mut sums = vec![0.0_f32; row_len];
    for (first, weights) in &rows {
        sums.fill(0.0);
        for (row, weight) in narrow[first * row_len..].chunks_exact(row_len).zip(weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value * weight;
            }
        }
        pixels.extend(sums.iter().map(|sum| (sum + 0.5).clamp(0.0, 255.0) as u8));
    }
    Picture { width, height, channels, pixels }
}

/// New pixel i stands over the old ones around `start + (i + 1/2) * step`.
fn weights(old: usize, new: usize, start: f64, step: f64) -> Weights {
    let radius = step.max(1.0);
    let weights_of = |index: usize| {
        let centre = start + (index as f64 + 0.5) * step;
        let first = ((centre - radius).floor().max(0.0) as usize).min(old - 1);
        let end = ((centre + radius).ceil() as usize).clamp(first + 1, old);
        let weight = |place: usize| (1.0 - ((place as f64 + 0.5 - centre) / radius).abs()).max(0.0);
        let sum: f64 = (first..end).map(weight).sum();
        (first, (first..end).map(|place| (weight(place) / sum) as f32).collect())
    };
    (0..new).map(weights_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize, pixels: &[u8]) -> Picture {
        Picture { width, height, channels: 1, pixels: pixels.to_vec() }
    }

    #[test]
    fn even_areas_stay_and_halves_are_means() {
        for fit in [Fit::Crop, Fit::Stretch] {
            let even = resize(grey(5, 7, &[77; 35]), [3, 2], fit);
            assert_eq!((even.width, even.height, &even.pixels[..]), (2, 3, &[77; 6][..]));
            let larger = resize(grey(2, 2, &[9; 4]), [5, 5], fit);
            assert_eq!(larger.pixels, [9; 25]);
        }
        let same = grey(2, 2, &[1, 2, 3, 4]);
        assert_eq!(resize(same.clone(), [2, 2], Fit::Crop), same);
        // The triangle of a step of 2 reaches over a neighbour on each side: weights 1/8, 3/8, 3/8, 1/8, cut at the border.
        let halved = resize(grey(4, 1, &[0, 70, 140, 210]), [1, 2], Fit::Stretch);
        let expected = [(70.0 * 3.0 + 140.0) / 7.0, (70.0 + 140.0 * 3.0 + 210.0 * 3.0) / 7.0_f64];
        assert_eq!(halved.pixels, expected.map(|value| value.round() as u8));
    }

    #[test]
    fn crops_keep_the_middle_and_stretches_the_borders() {
        let wide: Vec<u8> = (0..2).flat_map(|_| [10, 20, 200, 30, 40, 50]).collect();
        let crop = resize(grey(6, 2, &wide), [2, 2], Fit::Crop);
        assert_eq!(crop.pixels, [200, 30, 200, 30]);
        let stretch = resize(grey(6, 2, &wide), [2, 6], Fit::Stretch);
        assert_eq!(stretch.pixels, wide);
    }
}
