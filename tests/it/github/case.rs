//! Cases that are files (`fixtures/github`): requests, what is answered, and what is pushed with real git. A
//! file begins with what it shows and where that is from. Its lines:
//!
//! ```text
//! as ann                                  who asks from here on: a classic token
//! as ann contents=write,statuses=read     a fine-grained one
//! as app | jwt | nobody | TOKEN           the installation's, the app's JWT, none, or this one
//! commit [+]BRANCH [from BASE] FILE TEXT  a commit of one file, pushed; `+` forces
//! delete BRANCH                           the same for its end
//! refused TEXT                            after either: what git prints
//! protect PATTERN JSON | rule PATTERN JSON | methods JSON | limits JSON | archive | visibility WORD
//! wait SECONDS
//! send HEADER: VALUE                      with the next request
//! GET /path [JSON]                        a request, and below it
//! 200 [JSON]                              the status and what the answer holds at least; `~text` is a part
//! > HEADER: TEXT                          a part of a header
//! keep NAME /pointer | keep NAME > HEADER what `$NAME` stands for from here on; `{sha:BRANCH}` is a head
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use towpath::demo::github::{Limits, Methods, Protection};

use super::openapi;
use super::site::{REPOSITORY, Site};

/// Runs a case from its first line to its last.
struct Run {
    site: Site,
    token: Option<String>,
    kept: BTreeMap<String, String>,
    headers: Vec<(String, String)>,
    answer: Value,
    answered: HeaderMap,
}

#[tokio::test]
async fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/github");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut runs = tokio::task::JoinSet::new();
    for file in files {
        runs.spawn(async move {
            let failed = run(&file).await.err();
            failed.map(|error| format!("{}: {error}", file.display()))
        });
    }
    let failed: Vec<String> = runs.join_all().await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

async fn run(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).unwrap();
    if !text.starts_with("# ") || !text.contains("https://") {
        return Err("a case begins with what it shows, and where that is from".to_owned());
    }
    let site = Site::start().await;
    let mut run = Run {
        token: Some(site.token("towpath").expose().to_owned()),
        site,
        kept: BTreeMap::new(),
        headers: Vec::new(),
        answer: Value::Null,
        answered: HeaderMap::new(),
    };
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let next = lines.peek().map_or("", |(_, next)| next);
        let at = |error| format!("line {}: {error}\n  {line}", number + 1);
        let used_next = run.line(line.trim(), next.trim()).await.map_err(at)?;
        if used_next {
            lines.next();
        }
    }
    let findings = openapi::check(&run.site.github.take_exchanges());
    match findings.is_empty() {
        true => Ok(()),
        false => Err(findings.join("\n")),
    }
}

impl Run {
    /// Does one line; whether the next was part of it.
    async fn line(&mut self, line: &str, next: &str) -> Result<bool, String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(false);
        }
        let line = self.filled(line).await;
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let github = &self.site.github;
        match word {
            "as" => self.become_(rest).await,
            "commit" | "delete" => return self.push(word, rest, next).await,
            "wait" => self
                .site
                .wait(SignedDuration::from_secs(rest.parse().unwrap())),
            "protect" => {
                let (pattern, protection) = rest.split_once(' ').unwrap();
                let protection: Protection = serde_json::from_str(protection).unwrap();
                github.protect(REPOSITORY, pattern, Some(protection)).await;
            }
            "rule" => {
                let (pattern, rule) = rest.split_once(' ').unwrap();
                let rule = serde_json::from_str(rule).unwrap();
                github.add_rule(REPOSITORY, pattern, rule).await;
            }
            "methods" => {
                let asked: Value = serde_json::from_str(rest).unwrap();
                let mut methods = Methods::default();
                let set = |name: &str, field: &mut bool| {
                    *field = asked[name].as_bool().unwrap_or(*field);
                };
                set("merge", &mut methods.merge);
                set("squash", &mut methods.squash);
                set("rebase", &mut methods.rebase);
                set("auto_merge", &mut methods.auto_merge);
                set("delete_branch", &mut methods.delete_branch);
                github.set_methods(REPOSITORY, methods).await;
            }
            "limits" => {
                let asked: Value = serde_json::from_str(rest).unwrap();
                let usual = Limits::default();
                let unknown = asked["unknown_mergeability"].as_u64().unwrap_or(0);
                github.set_limits(Limits {
                    hourly: asked["hourly"].as_u64().unwrap_or(usual.hourly),
                    points: asked["points"].as_u64(),
                    contents: asked["contents"].as_u64(),
                    unknown_mergeability: usize::try_from(unknown).unwrap(),
                });
            }
            "archive" => github.set_archived(REPOSITORY, true).await,
            "visibility" => github.set_visibility(REPOSITORY, rest).await,
            "send" => {
                let (name, value) = rest.split_once(": ").unwrap();
                self.headers.push((name.to_owned(), value.to_owned()));
            }
            "keep" => {
                let (name, from) = rest.split_once(' ').unwrap();
                let value = match from.strip_prefix("> ") {
                    Some(header) => header_of(&self.answered, header),
                    None => match self.answer.pointer(from) {
                        Some(Value::String(text)) => text.clone(),
                        Some(other) => other.to_string(),
                        None => return Err(format!("there is no {from}: {}", self.answer)),
                    },
                };
                self.kept.insert(name.to_owned(), value);
            }
            ">" => {
                let (name, wanted) = rest.split_once(": ").unwrap_or((rest, ""));
                let value = header_of(&self.answered, name);
                if !value.contains(wanted) || value.is_empty() {
                    return Err(format!("{name} is `{value}`"));
                }
            }
            "GET" | "POST" | "PUT" | "PATCH" | "DELETE" => {
                self.ask(word, rest).await;
                let next = self.filled(next).await;
                return self.expect(&next).map(|()| true);
            }
            other => return Err(format!("there is no `{other}`")),
        }
        Ok(false)
    }

    /// The line with its `$NAME` and `{sha:BRANCH}` filled in.
    async fn filled(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (name, value) in &self.kept {
            line = line.replace(&format!("${name}"), value);
        }
        while let Some((before, rest)) = line.split_once("{sha:") {
            let (branch, after) = rest.split_once('}').unwrap();
            let output = tokio::process::Command::new("git")
                .arg("--git-dir")
                .arg(self.site.github.path(REPOSITORY))
                .args(["rev-parse", branch])
                .output()
                .await
                .unwrap();
            let sha = String::from_utf8(output.stdout).unwrap();
            line = format!("{before}{}{after}", sha.trim());
        }
        line
    }

    async fn become_(&mut self, who: &str) {
        let (name, rights) = who.split_once(' ').unwrap_or((who, ""));
        self.token = match name {
            "nobody" => None,
            "app" => Some(self.site.installation_token(None).await),
            "jwt" => Some(self.site.jwt()),
            _ if !rights.is_empty() => {
                let token = self.site.fine_grained(name, rights).await;
                Some(token.expose().to_owned())
            }
            name if name.starts_with("gh") => Some(name.to_owned()),
            name => Some(self.site.token(name).expose().to_owned()),
        };
    }

    /// Pushes, and looks whether git is content or, where the next line says so, is not.
    async fn push(&self, word: &str, rest: &str, next: &str) -> Result<bool, String> {
        let token = self.token.clone().unwrap_or_default();
        let pushed = match word {
            "delete" => {
                self.site
                    .push(&token, &[&format!(":refs/heads/{rest}")])
                    .await
            }
            _ => {
                let words: Vec<&str> = rest.split(' ').collect();
                let (branch, from, file) = match words.as_slice() {
                    [branch, "from", base, file @ ..] => (branch, Some(*base), file),
                    [branch, file @ ..] => (branch, None, file),
                    [] => return Err("what is to be pushed?".to_owned()),
                };
                let text = format!("{}\n", file[1..].join(" "));
                self.site
                    .try_commit(&token, branch, from, (file[0], &text))
                    .await
            }
        };
        match (next.strip_prefix("refused "), pushed) {
            (None, Ok(_)) => Ok(false),
            (None, Err(printed)) => Err(format!("git says {printed}")),
            (Some(_), Ok(_)) => Err("git took it".to_owned()),
            (Some(wanted), Err(printed)) if printed.contains(wanted) => Ok(true),
            (Some(_), Err(printed)) => Err(format!("git says {printed}")),
        }
    }

    async fn ask(&mut self, method: &str, rest: &str) {
        let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
        let body: Option<Value> =
            (!body.is_empty()).then(|| serde_json::from_str(body).expect("a case's body is JSON"));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let path = match path.strip_prefix("./") {
            Some(rest) => format!("/repos/{REPOSITORY}/{rest}"),
            None if path == "." => format!("/repos/{REPOSITORY}"),
            None => path.to_owned(),
        };
        let headers = std::mem::take(&mut self.headers);
        let response = self
            .site
            .ask(
                method,
                &path,
                self.token.as_deref(),
                &headers,
                body.as_ref(),
            )
            .await;
        self.answered = response.headers().clone();
        self.kept
            .insert("status".to_owned(), response.status().as_u16().to_string());
        let text = response.text().await.unwrap();
        self.answer = serde_json::from_str(&text).unwrap_or(Value::String(text));
    }

    fn expect(&self, line: &str) -> Result<(), String> {
        let (status, wanted) = line.split_once(' ').unwrap_or((line, ""));
        if self.kept["status"] != status {
            return Err(format!(
                "{} instead of {status}: {}",
                self.kept["status"], self.answer
            ));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let wanted: Value =
            serde_json::from_str(wanted).map_err(|error| format!("{error}: {wanted}"))?;
        holds(&self.answer, &wanted, "")
    }
}

fn header_of(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).map(|it| it.to_str().unwrap_or_default());
    value.unwrap_or_default().to_owned()
}

/// Whether a value holds at least what is wanted.
pub(super) fn holds(value: &Value, wanted: &Value, at: &str) -> Result<(), String> {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => {
            for (name, wanted) in wanted {
                let at = format!("{at}/{name}");
                let value = value.get(name).ok_or(format!("there is no {at}"))?;
                holds(value, wanted, &at)?;
            }
            Ok(())
        }
        (Value::Array(values), Value::Array(wanted)) if values.len() == wanted.len() => {
            for (index, (value, wanted)) in values.iter().zip(wanted).enumerate() {
                holds(value, wanted, &format!("{at}/{index}"))?;
            }
            Ok(())
        }
        (Value::String(value), Value::String(wanted)) if wanted.starts_with('~') => {
            match value.contains(&wanted[1..]) {
                true => Ok(()),
                false => Err(format!("{at} is `{value}`")),
            }
        }
        (value, wanted) if value == wanted => Ok(()),
        (value, wanted) => Err(format!("{at} is {value} instead of {wanted}")),
    }
}
