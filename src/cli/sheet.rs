//! Sheets of images: many small ones side by side in one picture.

use anyhow::Context;
use dlc::data::{Column, DataError, Dataset};

/// Pixels between images.
const GAP: usize = 2;
/// Images smaller than this are shown with larger pixels.
const LEAST_SIDE: usize = 64;
/// The grey between images.
const BETWEEN: u8 = 96;

/// Images in rows.
#[derive(Debug)]
pub(super) struct Sheet {
    columns: usize,
    width: usize,
    height: usize,
    /// Red, green and blue, row by row.
    pixels: Vec<u8>,
}

impl Sheet {
    /// Whether the values of a column are images: height, width, and one or three channels.
    pub fn shows(column: &Column) -> bool {
        matches!(*column.shape(), [height, width, 1 | 3] if height > 1 && width > 1)
            || matches!(*column.shape(), [height, width] if height > 3 && width > 3)
    }

    /// A sheet of some examples. Values from 0 to 1 are black to white; where there are others, the least is black and the greatest white.
    pub fn of(dataset: &Dataset, column: &Column, examples: &[u32]) -> Result<Self, DataError> {
        let (height, width, channels) = match *column.shape() {
            [height, width, channels] => (height, width, channels),
            [height, width] => (height, width, 1),
            _ => (1, 1, 1),
        };
        let mut values = vec![0.0_f32; examples.len() * column.row_len()];
        dataset.gather(column.name(), examples, &mut values)?;
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let (least, greatest) = (finite().fold(0.0, f32::min), finite().fold(1.0, f32::max));
        let scale = 255.0 / (greatest - least);
        let zoom = LEAST_SIDE.div_ceil(height.max(width)).max(1);
        let columns = (1..=examples.len()).find(|n| n * n >= examples.len()).unwrap_or(1);
        let rows = examples.len().div_ceil(columns);
        let (cell_height, cell_width) = (height * zoom + GAP, width * zoom + GAP);
        let (sheet_height, sheet_width) = (rows * cell_height + GAP, columns * cell_width + GAP);
        let mut pixels = vec![BETWEEN; sheet_height * sheet_width * 3];
        for (index, image) in values.chunks_exact(column.row_len()).enumerate() {
            let top = GAP + index / columns * cell_height;
            let left = GAP + index % columns * cell_width;
            for y in 0..height * zoom {
                for x in 0..width * zoom {
                    let from = (y / zoom * width + x / zoom) * channels;
                    let to = ((top + y) * sheet_width + left + x) * 3;
                    for channel in 0..3 {
                        let value = image[from + channel % channels];
                        // A value that is no number becomes 0.
                        pixels[to + channel] = ((value - least) * scale + 0.5) as u8;
                    }
                }
            }
        }
        Ok(Sheet { columns, width: sheet_width, height: sheet_height, pixels })
    }

    /// Images of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The sheet as the bytes of a PNG file.
    pub fn png(&self) -> anyhow::Result<Vec<u8>> {
        let too_large = "the sheet is too large; show fewer examples";
        let width = u32::try_from(self.width).context(too_large)?;
        let height = u32::try_from(self.height).context(too_large)?;
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header()?.write_image_data(&self.pixels)?;
        Ok(bytes)
    }
}
