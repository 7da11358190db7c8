//! The key `sops` of an environment: what opens its encrypted manifests.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::form::{Text, Wrong, a_second_or_more};
use super::problem::quote;
use super::section::{Fields, Section};
use super::terms;
use crate::model::Sops;

/// The form of `sops`. Paths in it are as written.
pub(super) fn sops() -> Fields<Sops> {
    Fields {
        sample: "{ binary: sops }",
        read,
    }
}

fn read(section: &mut Section<'_>) -> Option<Sops> {
    for key in ["age-key", "key", "age"] {
        section.hint(
            key,
            "secrets never stand in these files: name the file that holds the key with `age-key-file: PATH`",
        );
    }
    let binary = section.required(
        "binary",
        "The sops binary: its name where it is found by PATH, or its absolute path.",
        binary(),
    );
    let age_key_file = section.optional(
        "age-key-file",
        "The file with the age keys that open this environment's documents, and no other's. A relative path starts at the configuration's folder. Left out: the keys that sops finds by itself, as its variables and the cloud's identity say.",
        terms::path(),
    );
    let timeout = section.or(
        "timeout",
        "How long sops may take for one file.",
        a_second_or_more(),
        "10s",
    );
    Some(Sops {
        binary: binary?.value,
        age_key_file: age_key_file.map(|path| path.value),
        timeout: timeout?.value,
    })
}

fn binary() -> Text<PathBuf> {
    Text {
        wanted: "a program",
        sample: "sops",
        parse: |text| {
            let path = Path::new(text);
            let name = path.file_name().is_some_and(|name| name == path);
            let plain = !text.is_empty() && !text.starts_with('-') && !text.contains('\0');
            match plain && (name || path.is_absolute()) {
                true => Ok(path.to_owned()),
                false => Err(Wrong::new(
                    format!(
                        "{} is neither a program's name nor an absolute path",
                        quote(text)
                    ),
                    "write `sops`, or its path as `/usr/local/bin/sops`",
                )),
            }
        },
        schema: || json!({ "minLength": 1 }),
    }
}
