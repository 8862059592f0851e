//! Files of data, through their readers.

use dlc_abi::ElemType;
use dlc_data::{DataSpec, Dataset};
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// How a file may be read: its name, and the text that names the data, in which `DIR` stands for the folder.
const FORMS: [(&str, &str); 14] = [
    ("x.npy", "npy:DIR/x.npy"),
    ("x.npz", "npz:DIR/x.npz?scale=3"),
    ("data_batch_1.bin", "cifar10:DIR"),
    ("train.bin", "cifar100:DIR?labels=coarse"),
    ("train-images-idx3-ubyte", "mnist:DIR"),
    ("x.csv", "csv:DIR/x.csv?label=y&missing=mean"),
    ("x.csv", "csv:DIR/x.csv?header=no&delimiter=tab&missing=drop&split=0.5"),
    ("x.csv", "csv:DIR/x.csv?text=x&missing=0"),
    ("x.txt", "text:DIR/x.txt?window=3&split=0.5"),
    ("x.txt", "text:DIR/x.txt?window=2&stride=1&unit=word&words=3"),
    ("v.txt", "text:DIR/v.txt?window=2&vocab=DIR/v.txt"),
    ("x.png", "images:DIR?size=5x7"),
    ("x.jpg", "images:DIR?channels=1"),
    ("x.jpg", "images:DIR?size=9&fit=stretch&channels=3"),
];

/// More values than this are not read of an example.
const MOST_VALUES: usize = 1 << 22;

/// Reads a file in the form that its first byte chooses: an error, or examples that can be fetched.
pub fn data(bytes: &[u8]) {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let Some((&form, content)) = bytes.split_first() else { return };
    let (name, spec) = FORMS[usize::from(form) % FORMS.len()];
    let folder = FOLDER.get_or_init(|| {
        std::env::temp_dir().join(format!("dlc-fuzz-data-{}", std::process::id()))
    });
    // What an earlier file left would be taken for a part of this one's data.
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).expect("the temporary folder is writable");
    fs::write(folder.join(name), content).expect("the temporary folder is writable");
    if form & 0x80 != 0 {
        fs::write(folder.join("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, 7])
            .expect("the temporary folder is writable");
    }
    let spec = spec.replace("DIR", &folder.to_string_lossy());
    let spec: DataSpec = spec.parse().expect("the form is right");
    match spec.load() {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(splits) => std::iter::once(&splits.train).chain(&splits.test).for_each(fetch),
    }
}

/// Fetches the first and the last examples.
fn fetch(dataset: &Dataset) {
    let n = dataset.n_examples() as u32;
    for column in dataset.columns().iter().filter(|column| column.row_len() <= MOST_VALUES) {
        let mut integers = vec![0_i32; column.row_len()];
        let mut reals = vec![0.0_f32; column.row_len()];
        for example in [0, n / 2, n - 1] {
            if column.serves(ElemType::I32) {
                // A label may be out of range.
                let _ = dataset.fetch(column.name(), example, &mut integers);
            }
            let _ = dataset.fetch(column.name(), example, &mut reals);
        }
    }
}
