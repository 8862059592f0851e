//! `dlc data`, and data in files from the command line.

use super::{Folder, stderr};
use std::fs::{self, File};

/// Images of 4x4 and 6x4 pixels in two classes.
fn images(folder: &Folder) {
    for (class, height, value) in [("dark", 4, 0), ("light", 6, 200)] {
        fs::create_dir_all(folder.path("images").join(class)).unwrap();
        for index in 0..3 {
            let path = folder.path("images").join(class).join(format!("{index}.png"));
            let mut encoder = png::Encoder::new(File::create(path).unwrap(), 4, height);
            encoder.set_color(png::ColorType::Rgb);
            let pixels = vec![value + index; 4 * height as usize * 3];
            encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        }
    }
}

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn info_tells_parts_columns_and_classes() {
    let folder = Folder::new("data-info");
    images(&folder);
    let output = folder.run(&["data", "info", "images:images"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "train        6 examples  images\n\
         column `image`: f32[4, 4, 3]\n\
         column `label`: i32[]  2 classes\n    dark: 3, light: 3\n"
    );
    // As a model takes them.
    let text = folder.run(&["data", "info", "images:images", "--model", "model.dl"]);
    assert!(stdout(&text).contains("column `image`: f32[8, 8, 1]\n"), "{}", stdout(&text));
    let json = folder.json(&["data", "info", "iris", "--json"]);
    assert_eq!((&json["train"], &json["test"]), (&120.into(), &30.into()));
    assert_eq!(json["columns"][1]["class_names"][2], "virginica");
}

#[test]
fn samples_are_a_sheet_of_images_or_lines() {
    let folder = Folder::new("data-sample");
    images(&folder);
    let output = folder.run(&["data", "sample", "images:images?size=4", "-n", "4", "-o", "s.png"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // Four images, each pixel 16 times as large, with gaps of two pixels around them.
    let sheet =
        png::Decoder::new(std::io::BufReader::new(File::open(folder.path("s.png")).unwrap()));
    let mut sheet = sheet.read_info().unwrap();
    assert_eq!((sheet.info().width, sheet.info().height), (2 * 66 + 2, 2 * 66 + 2));
    let mut pixels = vec![0; sheet.output_buffer_size().unwrap()];
    sheet.next_frame(&mut pixels).unwrap();
    // The middle of each image is as bright as its label says; the gaps are grey.
    let text = stdout(&output);
    let labels: Vec<&str> =
        text.split([':', '|', '\n', ' ']).filter(|word| ["dark", "light"].contains(word)).collect();
    assert_eq!(labels.len(), 4, "{text}");
    for (index, label) in labels.into_iter().enumerate() {
        let (row, column) = (34 + index / 2 * 66, 34 + index % 2 * 66);
        let value = pixels[(row * 134 + column) * 3];
        assert_eq!(value >= 200, label == "light", "{value} {label}");
    }
    assert_eq!(pixels[(67 * 134 + 67) * 3], 96);
    fs::write(folder.path("t.txt"), "a rose is a rose").unwrap();
    let output = folder.run(&["data", "sample", "text:t.txt?window=15", "-n", "1"]);
    assert_eq!(stdout(&output), "token: \"a rose is a ros\"  next: \" rose is a rose\"\n");
}

#[test]
fn verifying_names_all_that_is_broken_and_goes_on() {
    let folder = Folder::new("data-verify");
    images(&folder);
    let verify = ["data", "verify", "images:images?size=4"];
    let output = folder.run(&verify);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("train `image`: 6 examples, values from 0 to 0.79"));
    fs::write(folder.path("images/dark/1.png"), "no image").unwrap();
    fs::write(folder.path("images/light/0.png"), "nor this").unwrap();
    let output = folder.run(&verify);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "error: `images/dark/1.png`: this is neither PNG nor JPEG\n\
         error: `images/light/0.png`: this is neither PNG nor JPEG\n"
    );
    assert!(stdout(&output).contains(", 2 examples cannot be read\n"), "{}", stdout(&output));
    let json = folder.json(&["data", "verify", "wine", "--json"]);
    assert_eq!(json["faults"], 0);
    assert_eq!(json["train"]["features"]["greatest"], 1680.0);
}

#[test]
fn files_are_trained_on_and_judged_by_the_same_text() {
    let folder = Folder::new("data-train");
    let mut table = String::from("id,size,colour,kind\n");
    for index in 0..80 {
        let kind = ["cat", "dog"][index % 2];
        let colour = ["black", "red", "white"][index % 3];
        table += &format!("{index},{},{colour},{kind}\n", index % 2 * 3 + index % 3);
    }
    fs::write(folder.path("animals.csv"), table).unwrap();
    let model = "\
model animals(features: f32[batch, 4]) -> logits: f32[batch, 2] { logits = features |> dense(2) }
train animals(kind: i32[batch]) {
    loss      = softmax_cross_entropy(logits, kind)
    metric    accuracy(logits, kind)
    optimizer = adam(lr = 0.1)
    epochs    = 20
}
";
    fs::write(folder.path("animals.dl"), model).unwrap();
    let spec = "csv:animals.csv?label=kind&drop=id&split=0.25";
    let train = folder.json(&["train", "animals.dl", "--data", spec, "--out", "run", "--json"]);
    assert!(train["val_accuracy"].as_f64().unwrap() > 0.9, "{train}");
    let weights = "run/weights.safetensors";
    let eval = ["eval", "animals.dl", "--weights", weights, "--data", spec, "--json"];
    let judged = folder.json(&eval);
    assert_eq!((&judged["examples"], &judged["loss"]), (&20.into(), &train["val_loss"]));
    let broken = folder.run(&["train", "animals.dl", "--data", "csv:animals.csv?label=sort"]);
    assert_eq!(broken.status.code(), Some(2));
    assert_eq!(
        stderr(&broken),
        "error: `animals.csv`, line 1: option `label` names the column `sort`, but the columns are `id`, `size`, \
         `colour`, `kind`\n"
    );
}
