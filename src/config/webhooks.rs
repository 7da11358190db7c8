//! The keys `webhooks` and `tls` of `towpath.yaml`: who is listened to, and behind which certificate.

use serde_json::json;

use super::credential::{self, Described};
use super::environment::values;
use super::form::{Flag, Text, Wrong};
use super::list::{Table, list};
use super::problem::{listed, nearest, quote};
use super::section::{Fields, Section};
use super::terms;
use crate::model::{Admission, Credential, Sender, TlsFiles};

/// The senders that are listened to.
pub(super) fn webhooks() -> Table<Sender, Fields<Admission>> {
    Table {
        key: sender(),
        value: Fields {
            sample: "{ secrets: [{ env: WEBHOOK_SECRET }] }",
            read: admission,
        },
    }
}

/// The name of a sender.
fn sender() -> Text<Sender> {
    Text {
        wanted: "a sender of webhooks",
        sample: "github",
        parse: |text| {
            let names = || Sender::ALL.into_iter().map(Sender::name);
            Sender::named(text).ok_or_else(|| {
                let instead = match (text, nearest(text, names())) {
                    ("git", _) => "write `github`, `gitea` or `generic`".to_owned(),
                    ("forgejo", _) => "write `gitea`".to_owned(),
                    ("distribution", _) => "write `registry`".to_owned(),
                    ("ghcr", _) => "write `github`".to_owned(),
                    (_, Some(name)) => format!("write `{name}`"),
                    (_, None) => format!("the senders are {}", listed(names())),
                };
                Wrong::new(
                    format!("{} is not a sender of webhooks", quote(text)),
                    instead,
                )
            })
        },
        schema: || {
            let names: Vec<_> = Sender::ALL.into_iter().map(Sender::name).collect();
            json!({ "enum": names })
        },
    }
}

fn admission(section: &mut Section<'_>) -> Option<Admission> {
    section.hint(
        "secret",
        "secrets never stand in these files: name them with `secrets: [{ env: NAME }]` or `secrets: [{ file: PATH }]`",
    );
    let secrets = section.optional(
        "secrets",
        "The names of the secrets, any of which counts: with two, one can be exchanged for the other without a gap.",
        list(Fields {
            sample: "{ env: WEBHOOK_SECRET }",
            read: secret,
        }),
    );
    let unauthenticated = section.optional(
        "unauthenticated",
        "Whether anybody who reaches the address is listened to: for loopback, or behind something that checks.",
        Flag,
    );
    section
        .exactly_one(
            &["secrets", "unauthenticated"],
            "secrets: [{ env: WEBHOOK_SECRET }]",
        )
        .then_some(())?;
    if let Some(secrets) = secrets {
        return Some(Admission::Secrets(values(secrets.value)));
    }
    match unauthenticated?.value {
        true => Some(Admission::Unauthenticated),
        false => {
            let place = section.key_place("unauthenticated");
            section.reading.problems.error(
                &place,
                "without `unauthenticated` it needs secrets",
                "write `secrets: [{ env: WEBHOOK_SECRET }]`, or take the sender out",
            );
            None
        }
    }
}

fn secret(section: &mut Section<'_>) -> Option<Credential> {
    let described = Described {
        variable: "The environment variable that holds the secret.",
        file: "The file that holds the secret; read again every few seconds, so that it may be exchanged. A relative path starts at the configuration's folder.",
        sample: "{ env: WEBHOOK_SECRET }",
    };
    credential::secret(section, &described)
}

/// The certificate.
pub(super) fn tls(section: &mut Section<'_>) -> Option<TlsFiles> {
    let certificate = section.required(
        "certificate",
        "The certificate and those it rests on, in PEM. Read again when it changes. A relative path starts at the configuration's folder.",
        terms::path(),
    );
    let key = section.required(
        "key",
        "Its private key, in PEM. Read again when it changes.",
        terms::path(),
    );
    Some(TlsFiles {
        certificate: certificate?.value,
        key: key?.value,
    })
}
