//! Folders of images.

use dlc_abi::ElemType;
use dlc_data::{DataSpec, Want};

use crate::folder::{Folder, integers, reals};

const RGB: &[u8] = include_bytes!("pictures/rgb.png");
const JPEG: &[u8] = include_bytes!("pictures/rgb.jpg");
const WIDTH: usize = 24;

/// A pixel of an image that has been loaded, in bytes.
fn pixel(image: &[f32], width: usize, row: usize, column: usize) -> [u8; 3] {
    let at = (row * width + column) * 3;
    [0, 1, 2].map(|channel| (image[at + channel] * 255.0).round() as u8)
}

#[test]
fn all_kinds_of_png_and_jpeg_are_decoded() {
    // Two pixels as another library reads them; its JPEGs may be rounded differently.
    let cases: [(&str, &[u8], [u8; 3], [u8; 3], u8); 8] = [
        ("a.png", RGB, [50, 45, 128], [230, 225, 128], 0),
        ("a.png", include_bytes!("pictures/rgba.png"), [50, 45, 128], [230, 225, 128], 0),
        ("a.png", include_bytes!("pictures/grey.png"), GREY[0], GREY[1], 0),
        ("a.png", include_bytes!("pictures/palette.png"), PALETTE[0], PALETTE[1], 0),
        ("a.png", include_bytes!("pictures/sixteen.png"), [51; 3], [254; 3], 0),
        ("a.jpg", JPEG, JPEG_PIXELS[0], JPEG_PIXELS[1], 2),
        ("a.jpeg", include_bytes!("pictures/progressive.jpg"), PROGRESSIVE[0], PROGRESSIVE[1], 6),
        // Known by its first bytes, not by its name.
        ("a.PNG", include_bytes!("pictures/grey.jpg"), GREY_JPEG[0], GREY_JPEG[1], 2),
    ];
    for (index, (name, bytes, first, last, tolerance)) in cases.into_iter().enumerate() {
        let folder = Folder::with(&[(name, bytes)]);
        let train = folder.load("images:DIR").expect("a sound folder").train;
        assert_eq!(train.column("image").expect("a column").shape(), [16, WIDTH, 3]);
        let image = reals(&train, "image");
        for (found, expected) in
            [(pixel(&image, WIDTH, 3, 5), first), (pixel(&image, WIDTH, 15, 23), last)]
        {
            let close = found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= tolerance);
            assert!(close, "case {index}: {found:?}, not {expected:?}");
        }
    }
}

const GREY: [[u8; 3]; 2] = [[56; 3], [215; 3]];
const PALETTE: [[u8; 3]; 2] = [[50, 15, 128], [200, 210, 128]];
const JPEG_PIXELS: [[u8; 3]; 2] = [[50, 45, 129], [229, 225, 128]];
const PROGRESSIVE: [[u8; 3]; 2] = [[51, 43, 126], [230, 222, 137]];
const GREY_JPEG: [[u8; 3]; 2] = [[56; 3], [215; 3]];

#[test]
fn folders_are_classes_in_the_order_of_their_names() {
    let folder = Folder::with(&[
        ("class 10/b.png", RGB),
        ("class 2/a.png", RGB),
        ("class 10/a.jpg", JPEG),
        ("class 2/notes.txt", b"no picture"),
        (".hidden/a.png", b"not looked at"),
    ]);
    let train = folder.load("images:DIR").expect("a sound folder").train;
    let label = train.column("label").expect("a column");
    assert_eq!(label.class_names(), Some(&["class 2".to_owned(), "class 10".to_owned()][..]));
    assert_eq!(integers(&train, "label"), [0, 1, 1]);
}

#[test]
fn parts_have_folders_of_their_own() {
    let folder = Folder::with(&[
        ("train/a/1.png", RGB),
        ("train/b/1.png", RGB),
        ("val/b/2.png", RGB),
        ("other/b/2.png", RGB),
        ("other/b/3.png", RGB),
    ]);
    let splits = folder.load("images:DIR").expect("a sound folder");
    assert_eq!(integers(&splits.test.expect("a test part"), "label"), [1]);
    let splits = folder.load("images:DIR?test=DIR/other").expect("a sound folder");
    assert_eq!(integers(&splits.test.expect("a test part"), "label"), [1, 1]);
    assert_eq!(splits.train.n_examples(), 2);
}

#[test]
fn images_are_scaled_and_cut_to_what_is_asked_for() {
    let folder = Folder::with(&[("1.png", RGB)]);
    let load = |options: &str| {
        let train = folder.load(&format!("images:DIR?{options}")).expect("a sound folder").train;
        (train.column("image").expect("a column").shape().to_vec(), reals(&train, "image"))
    };
    // As another library scales with the same filter; its sums are rounded to bytes between rows and columns.
    let close = |found: [u8; 3], expected: [u8; 3]| {
        let close = found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1);
        assert!(close, "{found:?}, not {expected:?}");
    };
    let (shape, image) = load("size=8x12&fit=stretch");
    assert_eq!(shape, [8, 12, 3]);
    close(pixel(&image, 12, 0, 0), STRETCHED[0]);
    close(pixel(&image, 12, 3, 5), STRETCHED[1]);
    close(pixel(&image, 12, 7, 11), STRETCHED[2]);
    let (shape, image) = load("size=8");
    assert_eq!(shape, [8, 8, 3]);
    close(pixel(&image, 8, 0, 0), CROPPED[0]);
    close(pixel(&image, 8, 3, 5), CROPPED[1]);
    close(pixel(&image, 8, 7, 7), CROPPED[2]);
    let (shape, image) = load("channels=1");
    assert_eq!(shape, [16, WIDTH, 1]);
    assert_eq!((image[3 * WIDTH + 5] * 255.0).round(), 56.0);
}

const STRETCHED: [[u8; 3]; 3] = [[7, 11, 128], [105, 98, 128], [223, 214, 128]];
const CROPPED: [[u8; 3]; 3] = [[45, 11, 128], [145, 98, 128], [185, 214, 128]];

#[test]
fn images_have_the_size_that_the_model_takes() {
    let folder = Folder::with(&[("1.png", RGB)]);
    let spec: DataSpec = format!("images:{}", folder.path().display()).parse().expect("a form");
    let want =
        Want { name: "x".to_owned(), elem: ElemType::F32, shape: vec![4, 6, 1], is_target: false };
    let train = spec.load_for(&[want]).expect("a sound folder").train;
    assert_eq!(train.column("image").expect("a column").shape(), [4, 6, 1]);
}

#[test]
fn faults_are_named_with_their_file() {
    let changed = |at: usize, bytes: &[u8]| {
        let mut image = RGB.to_vec();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        // The checksum of the header, so that its sizes are looked at.
        let mut crc = flate2::Crc::new();
        crc.update(&image[12..29]);
        image[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        image
    };
    let jpeg_size = JPEG.windows(2).position(|bytes| bytes == [0xFF, 0xC0]).expect("a frame") + 5;
    let mut wide_jpeg = JPEG.to_vec();
    wide_jpeg[jpeg_size..jpeg_size + 4].fill(0xFF);
    let cases: Vec<(&str, Vec<u8>, String)> = vec![
        ("a.txt", b"x".to_vec(), "`DIR` holds no image (`.png`, `.jpg`, `.jpeg`) and no folders of images".into()),
        ("a/b.txt", b"x".to_vec(), "`DIR/a` holds no image (`.png`, `.jpg`, `.jpeg`) and no folders of images".into()),
        (
            "a/b.webp",
            b"x".to_vec(),
            "`DIR/a/b.webp`: images of the format `webp` are not read; convert them to PNG or JPEG, or take them out of \
             the folder".into(),
        ),
        ("a.png", vec![], "`DIR/a.png`: this is neither PNG nor JPEG".into()),
        ("a.png", b"GIF89a".to_vec(), "`DIR/a.png`: this is neither PNG nor JPEG".into()),
        (
            "a.png",
            changed(16, &[0x7F, 255, 255, 255]),
            "`DIR/a.png`: an image of 2147483647x16 pixels is not read; it needs 1 to 67108864 pixels".into(),
        ),
        (
            "a.png",
            changed(16, &[0, 0, 0x10, 0, 0, 0, 0x10, 0]),
            format!(
                "`DIR/a.png`: the header asks for 50335744 bytes of pixels, but the file can hold {} at most",
                RGB.len() * 1032
            ),
        ),
        (
            "a.jpg",
            wide_jpeg,
            "`DIR/a.jpg`: an image of 65535x65535 pixels is not read; it needs 1 to 67108864 pixels".into(),
        ),
    ];
    for (name, bytes, expected) in &cases {
        let folder = Folder::with(&[(name, bytes)]);
        assert_eq!(folder.error("images:DIR"), *expected);
    }
    let folder = Folder::with(&[("train/a/1.png", RGB), ("test/c/1.png", RGB)]);
    assert_eq!(
        folder.error("images:DIR"),
        "`DIR/test/c` is no class to learn from; the classes are `a`"
    );
    assert_eq!(
        folder.error("images:DIR/none"),
        "could not read `DIR/none`: No such file or directory (os error 2)"
    );
    for (spec, expected) in [
        (
            "images:a?size=0",
            "option `size` takes height and width up to 16384, such as `32x32` or `32`, not `0`",
        ),
        (
            "images:a?size=3x",
            "option `size` takes height and width up to 16384, such as `32x32` or `32`, not `3x`",
        ),
        ("images:a?channels=4", "option `channels` takes `1` or `3`, not `4`"),
        ("images:a?fit=pad", "option `fit` takes `crop` or `stretch`, not `pad`"),
    ] {
        assert_eq!(folder.error(spec), expected);
    }
}

/// Damage shows when the image is fetched; no input may panic or ask for more memory than the file can fill.
#[test]
fn every_cut_and_flipped_bit_is_an_error_or_an_image() {
    let folder = Folder::with(&[("0.png", RGB)]);
    for (name, bytes) in [("1.png", RGB), ("1.jpg", JPEG)] {
        let step = bytes.len() / 60 + 1;
        for end in (0..bytes.len() - 12).step_by(step) {
            folder.write(name, &bytes[..end]);
            let error = folder.error("images:DIR");
            assert!(error.starts_with(&format!("`DIR/{name}`: ")), "cut at {end}: {error}");
        }
        for bit in (0..bytes.len() * 8).step_by(step * 4) {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            folder.write(name, &flipped);
            let splits = folder.load("images:DIR").expect("the first one is sound");
            let mut image = vec![0.0_f32; 16 * WIDTH * 3];
            // It may be an image still, with other pixels.
            let _ = splits.train.fetch("image", 1, &mut image);
        }
        std::fs::remove_file(folder.path().join(name)).expect("it was written");
    }
}
