//! PNG and JPEG, known by their first bytes whatever their name.
//!
//! No size in a header is believed before it was found possible: a picture has at most [`MOST_PIXELS`], and a PNG not more bytes than
//! its file can be unpacked to.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{MOST_PIXELS, Picture};
use crate::error::ImageProblem;
use crate::zip::MAX_GROWTH;

/// What a decoder may use for the largest picture: four samples of 16 bits for each pixel, twice.
const MOST_BYTES: usize = 1 << 30;

/// Reads a file. Transparency is left away, 16 bits are cut to 8, palettes are looked up.
pub(super) fn picture(path: &Path) -> Result<Picture, ImageProblem> {
    let bytes = fs::read(path).map_err(|error| ImageProblem::Unreadable(error.to_string()))?;
    decode(&bytes)
}

/// Decodes the bytes of a file.
pub(super) fn decode(bytes: &[u8]) -> Result<Picture, ImageProblem> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        [0xFF, 0xD8, ..] => jpeg(bytes),
        _ => Err(ImageProblem::Unknown),
    }
}

fn sized(width: u64, height: u64) -> Result<[usize; 2], ImageProblem> {
    match width.checked_mul(height) {
        Some(pixels) if (1..=MOST_PIXELS).contains(&pixels) => {
            Ok([width as usize, height as usize])
        }
        _ => Err(ImageProblem::Size { width, height, most: MOST_PIXELS }),
    }
}

fn png(bytes: &[u8]) -> Result<Picture, ImageProblem> {
    let damaged = |error: png::DecodingError| ImageProblem::Png(error.to_string());
    // The header comes first; what follows it is looked at only if its size is possible.
    let side = |at: usize| {
        bytes.get(at..).and_then(|rest| rest.first_chunk().copied()).map(u32::from_be_bytes)
    };
    if let (Some(width), Some(height)) = (side(16), side(20)) {
        sized(width.into(), height.into())?;
    }
    let limits = png::Limits { bytes: MOST_BYTES };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(damaged)?;
    let info = reader.info();
    let [width, height] = sized(info.width.into(), info.height.into())?;
    let packed = info.raw_bytes() as u64;
    let possible = (bytes.len() as u64).saturating_mul(MAX_GROWTH);
    let size = reader.output_buffer_size().filter(|_| packed <= possible);
    let Some(size) = size else {
        return Err(ImageProblem::Short { pixels: packed, possible });
    };
    let mut samples = vec![0; size];
    let frame = reader.next_frame(&mut samples).map_err(damaged)?;
    samples.truncate(frame.buffer_size());
    let (channels, pixels) = match frame.color_type {
        png::ColorType::Grayscale => (1, samples),
        png::ColorType::Rgb => (3, samples),
        png::ColorType::GrayscaleAlpha => {
            (1, samples.chunks_exact(2).map(|pixel| pixel[0]).collect())
        }
        png::ColorType::Rgba => {
            let colours = samples.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]);
            (3, colours.collect())
        }
        png::ColorType::Indexed => {
            return Err(ImageProblem::Png("a palette is missing".to_owned()));
        }
    };
    whole(Picture { width, height, channels, pixels })
}

fn jpeg(bytes: &[u8]) -> Result<Picture, ImageProblem> {
    let damaged = |error: &dyn std::fmt::Display| ImageProblem::Jpeg(error.to_string());
    // Without instructions of a particular processor, so that pixels are the same on all.
    let options = DecoderOptions::default()
        .set_use_unsafe(false)
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| damaged(&error))?;
    let (width, height) = decoder.dimensions().ok_or_else(|| damaged(&"there is no frame"))?;
    let [width, height] = sized(width as u64, height as u64)?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (channels, space) = if grey { (1, ColorSpace::Luma) } else { (3, ColorSpace::RGB) };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    // What is missing at the end would be decoded as grey.
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    if last([0xFF, 0xD9]) < last([0xFF, 0xDA]) {
        return Err(damaged(&"the picture is cut off"));
    }
    let pixels = decoder.decode().map_err(|error| damaged(&error))?;
    whole(Picture { width, height, channels, pixels })
}

/// A picture that has as many pixels as it says.
fn whole(picture: Picture) -> Result<Picture, ImageProblem> {
    let expected = picture.width * picture.height * picture.channels;
    match picture.pixels.len() == expected {
        true => Ok(picture),
        false => Err(ImageProblem::Short {
            pixels: expected as u64,
            possible: picture.pixels.len() as u64,
        }),
    }
}
