//! The forms that a text naming data may have, with the options of each.

/// What stands behind the colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Folder,
    Files,
}

/// A form: `name`, `name:ARGUMENT` or `name:ARGUMENT?option=value&option=value`.
#[derive(Debug)]
pub(super) struct Form {
    pub name: &'static str,
    /// As messages show it.
    pub shown: &'static str,
    pub takes: Takes,
    pub options: &'static [&'static str],
}

/// All forms, as messages list them.
pub(super) const FORMS: &[Form] = &[
    Form { name: "digits", shown: "digits", takes: Takes::Nothing, options: &[] },
    Form { name: "iris", shown: "iris", takes: Takes::Nothing, options: &[] },
    Form { name: "wine", shown: "wine", takes: Takes::Nothing, options: &[] },
    Form {
        name: "fashion-mnist",
        shown: "fashion-mnist",
        takes: Takes::Nothing,
        options: &["split"],
    },
    Form { name: "mnist", shown: "mnist:DIR", takes: Takes::Folder, options: &["split"] },
    Form { name: "cifar10", shown: "cifar10:DIR", takes: Takes::Folder, options: &["split"] },
    Form {
        name: "cifar100",
        shown: "cifar100:DIR",
        takes: Takes::Folder,
        options: &["labels", "split"],
    },
    Form {
        name: "npz",
        shown: "npz:FILES",
        takes: Takes::Files,
        options: &["scale", "split", "test"],
    },
    Form {
        name: "npy",
        shown: "npy:X.npy,Y.npy",
        takes: Takes::Files,
        options: &["scale", "split", "test"],
    },
    Form {
        name: "csv",
        shown: "csv:FILES?label=COLUMN",
        takes: Takes::Files,
        options: &[
            "delimiter",
            "drop",
            "features",
            "header",
            "label",
            "missing",
            "split",
            "test",
            "text",
        ],
    },
    Form {
        name: "text",
        shown: "text:FILES",
        takes: Takes::Files,
        options: &["split", "stride", "test", "unit", "vocab", "window", "words"],
    },
    Form {
        name: "images",
        shown: "images:DIR",
        takes: Takes::Folder,
        options: &["channels", "fit", "size", "split", "test"],
    },
];

/// All forms as messages list them.
pub(crate) fn known_forms() -> Vec<&'static str> {
    FORMS.iter().map(|form| form.shown).collect()
}
