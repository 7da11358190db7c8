//! Credential plugins of a kubeconfig
//! ([`ExecCredential`](https://kubernetes.io/docs/reference/config-api/client-authentication.v1/)): a
//! command that prints a token or a client certificate.
//!
//! Owns running it within a deadline. What it prints is never shown, except its words on failure.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use jiff::Timestamp;
use kube::config::{AuthInfo, ExecConfig};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use crate::clock;
use crate::secret::Secret;

/// Plugins of clouds ask a metadata server or refresh a login, which takes seconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// A token or a certificate is a few KiB.
const LARGEST_ANSWER: u64 = 1 << 20;

/// What is shown of a failing plugin's words.
const WORDS: usize = 300;

/// What a plugin gave.
pub(super) struct Credential {
    token: Option<Secret>,
    /// Certificate and key, PEM.
    certificate: Option<(String, Secret)>,
    /// How long it holds from now, if it ends.
    pub(super) lasts: Option<Duration>,
}

impl Credential {
    /// Puts it where the kubeconfig would have stated it.
    pub(super) fn put(self, user: &mut AuthInfo) {
        if let Some(token) = self.token {
            user.token = Some(token.expose().to_owned().into());
        }
        if let Some((certificate, key)) = self.certificate {
            let base64 = base64::engine::general_purpose::STANDARD;
            user.client_certificate_data = Some(base64.encode(certificate));
            user.client_key_data = Some(base64.encode(key.expose()).into());
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<Timestamp>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Runs the plugin. It is given nothing to read and nobody to talk to.
///
/// # Errors
/// One sentence that names the command.
pub(super) async fn ask(exec: &ExecConfig) -> Result<Credential, String> {
    let Some(command) = exec.command.as_deref().filter(|it| !it.is_empty()) else {
        return Err("its credential plugin (`exec`) names no command".to_owned());
    };
    let answer = tokio::time::timeout(DEADLINE, run(command, exec)).await;
    let answer =
        answer.unwrap_or_else(|_| Err(format!("no answer within {} s", DEADLINE.as_secs())));
    answer
        .and_then(|output| read(&output))
        .map_err(|why| format!("its credential plugin `{command}`: {why}"))
}

async fn run(command: &str, exec: &ExecConfig) -> Result<Vec<u8>, String> {
    let mut process = Command::new(command);
    process.args(exec.args.iter().flatten());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            process.env(name, value);
        }
    }
    for name in exec.drop_env.iter().flatten() {
        process.env_remove(name);
    }
    let cluster = exec.provide_cluster_info.then_some(&exec.cluster);
    let info = serde_json::json!({
        "kind": "ExecCredential",
        "apiVersion": exec.api_version,
        "spec": { "interactive": false, "cluster": cluster },
    });
    let mut process = process
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let (output, words) = tokio::join!(all(process.stdout.take()), all(process.stderr.take()));
    let status = process
        .wait()
        .await
        .map_err(|error| format!("its end cannot be seen: {error}"))?;
    if !status.success() {
        let words = String::from_utf8_lossy(&words);
        let words: String = words.trim().chars().take(WORDS).collect();
        return Err(format!("it failed with {status}: {words}"));
    }
    Ok(output)
}

/// All that is said, up to a limit; what cannot be read is missed by whoever reads it.
async fn all(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut output = Vec::new();
    if let Some(stream) = stream {
        let mut stream = stream.take(LARGEST_ANSWER);
        // A part is judged as what it is: no credential.
        let _part = stream.read_to_end(&mut output).await;
    }
    output
}

fn read(output: &[u8]) -> Result<Credential, String> {
    // Some plugins print YAML, and clients are used to it; JSON is YAML.
    let answer: Answer =
        serde_yaml::from_slice(output).map_err(|_| "its answer is no ExecCredential".to_owned())?;
    let status = answer.status.ok_or("its answer holds no `status`")?;
    let certificate = status
        .client_certificate_data
        .zip(status.client_key_data.map(Secret::new));
    let token = status.token.map(Secret::new);
    if token.is_none() && certificate.is_none() {
        return Err(
            "its answer holds neither a token nor a client certificate with its key".to_owned(),
        );
    }
    let lasts = status.expiration_timestamp.map(|end| {
        let left = end.duration_since(clock::now());
        Duration::try_from(left).unwrap_or_default()
    });
    Ok(Credential {
        token,
        certificate,
        lasts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_plugin_gives_a_credential_or_says_what_is_wrong() {
        for (script, expected) in [
            (
                r#"echo '{"kind":"ExecCredential","status":{"token":"t0","expirationTimestamp":"2999-01-01T00:00:00Z"}}'"#,
                Ok("t0"),
            ),
            ("printf 'status:\\n  token: t1\\n'", Ok("t1")),
            (
                r#"case "$KUBERNETES_EXEC_INFO" in *'"interactive":false'*) echo '{"status":{"token":"t2"}}';; esac"#,
                Ok("t2"),
            ),
            ("echo '{}'", Err("holds no `status`")),
            (r#"echo '{"status":{}}'"#, Err("neither a token nor")),
            ("echo nonsense", Err("no ExecCredential")),
            ("echo log in again >&2; exit 3", Err("log in again")),
        ] {
            let exec = ExecConfig {
                command: Some("sh".to_owned()),
                args: Some(vec!["-c".to_owned(), script.to_owned()]),
                ..ExecConfig::default()
            };
            match (ask(&exec).await, expected) {
                (Ok(credential), Ok(token)) => {
                    assert_eq!(credential.token, Some(Secret::new(token)), "{script}");
                }
                (Err(why), Err(part)) => assert!(why.contains(part), "{script}: {why}"),
                (Ok(_), Err(part)) => panic!("{script}: expected {part}"),
                (Err(why), Ok(_)) => panic!("{script}: {why}"),
            }
        }
        let missing = ExecConfig {
            command: Some("no-such-plugin".to_owned()),
            ..ExecConfig::default()
        };
        let why = ask(&missing).await.err().unwrap();
        assert!(
            why.contains("no-such-plugin") && why.contains("cannot be started"),
            "{why}"
        );
    }
}
