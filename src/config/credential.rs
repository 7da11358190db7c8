//! Secrets are named where they are needed, never written down: by an environment variable or a file that holds
//! one. Reads no secret.

use super::form::text;
use super::section::{Fields, Section};
use super::terms;
use crate::model::Credential;

/// How the place of a secret is described.
pub(super) struct Described {
    /// The environment variable.
    pub(super) variable: &'static str,
    /// The file.
    pub(super) file: &'static str,
    /// What to write, for whoever wrote none of the two, or both.
    pub(super) sample: &'static str,
}

/// The key `credential` of a repository or registry.
pub(super) fn credential(section: &mut Section<'_>) -> Credential {
    let form = Fields {
        sample: "{ env: INFRA_TOKEN }",
        read: login,
    };
    section
        .optional(
            "credential",
            "The name of the secret that lets Towpath in. Left out: the git credential helper, docker's configuration or the ssh agent.",
            form,
        )
        .map_or(Credential::Default, |credential| credential.value)
}

/// A token or password, and the user name that goes with it.
pub(super) fn login(section: &mut Section<'_>) -> Option<Credential> {
    let named = secret(
        section,
        &Described {
            variable: "The environment variable that holds the token or password.",
            file: "The file that holds the token or password; read anew each time, so that it may be rotated. A relative path starts at the configuration's folder.",
            sample: "credential: { env: INFRA_TOKEN }",
        },
    );
    let user = section.optional(
        "user",
        "The user name that goes with it.",
        text("a user name", "towpath"),
    );
    let user = user.map(|user| user.value);
    named.map(|named| named.of(user))
}

/// The secret that `env` or `file` names.
pub(super) fn secret(section: &mut Section<'_>, described: &Described) -> Option<Credential> {
    let variable = section.optional("env", described.variable, terms::variable());
    let file = section.optional("file", described.file, terms::path());
    section
        .exactly_one(&["env", "file"], described.sample)
        .then_some(())?;
    let variable = variable.map(|variable| Credential::Environment {
        variable: variable.value,
        user: None,
    });
    let file = file.map(|path| Credential::File {
        path: path.value,
        user: None,
    });
    variable.or(file)
}
