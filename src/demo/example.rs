//! The example configuration of this repository, `environments/`, brought to the demo's servers.
//!
//! Only addresses, clusters and the soak are replaced; a test shows every line that differs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::ground::{self, Chosen};
use super::site::REVIEWER;
use crate::model::ImageRepository;

/// The release that fails in QA.
pub const BAD: &str = "v1.5.0";

/// The files of `environments/`.
const EXAMPLE: [(&str, &str); 5] = [
    (
        "towpath.yaml",
        include_str!("../../environments/towpath.yaml"),
    ),
    (
        "applications/pipeline.yaml",
        include_str!("../../environments/applications/pipeline.yaml"),
    ),
    (
        "staging/environment.yaml",
        include_str!("../../environments/staging/environment.yaml"),
    ),
    (
        "qa/environment.yaml",
        include_str!("../../environments/qa/environment.yaml"),
    ),
    (
        "production/environment.yaml",
        include_str!("../../environments/production/environment.yaml"),
    ),
];

/// Where the demo's servers are.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The git server, without a slash at the end: `http://127.0.0.1:4000`.
    pub git: String,
    /// The registry's host: `127.0.0.1:5000`.
    pub registry: String,
    /// The image repository, as manifests name it.
    pub images: ImageRepository,
    /// The real cluster, where it is one.
    pub chosen: Option<Chosen>,
    /// The GitHub that production's repository lies on, where it does.
    pub github: Option<OnGitHub>,
}

/// A repository on a GitHub of this machine.
#[derive(Debug, Clone)]
pub struct OnGitHub {
    /// The host with its port.
    pub host: String,
    /// The repository.
    pub url: String,
    /// The file with Towpath's token.
    pub token: PathBuf,
}

/// A text of the example, which stands there once, and what the demo has in its place.
struct Replacement {
    file: &'static str,
    from: &'static str,
    to: String,
}

/// Writes the configuration into a folder, which is made.
///
/// # Errors
/// The folder cannot be written, or the example no longer holds what is replaced.
pub fn write(folder: &Path, addresses: &Addresses) -> anyhow::Result<()> {
    for (path, text) in files(addresses)? {
        let file = folder.join(path);
        let parent = file.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&file, text))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(())
}

fn files(addresses: &Addresses) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut files: Vec<(&str, String)> = EXAMPLE
        .iter()
        .map(|(path, text)| (*path, (*text).to_owned()))
        .collect();
    for Replacement { file, from, to } in replacements(addresses) {
        let text = files.iter_mut().find(|(path, _)| *path == file);
        match text {
            Some((_, text)) if text.matches(from).count() == 1 => *text = text.replace(from, &to),
            _ => bail!("environments/{file} does not hold `{from}` exactly once"),
        }
    }
    Ok(files)
}

fn replacements(addresses: &Addresses) -> Vec<Replacement> {
    let Addresses {
        git,
        registry,
        images,
        chosen,
        github,
    } = addresses;
    let replace = |file, from, to: String| Replacement { file, from, to };
    let environment = |file: &'static str, repository, cluster, simulated: &str| {
        let name = str::trim_start_matches(repository, "url: https://github.com/acme/");
        let environment = file.split('/').next().unwrap_or_default();
        let found = match chosen {
            None => format!("cluster: {{ simulated: {simulated} }}"),
            Some(chosen) => real(chosen, environment),
        };
        let url = match github {
            Some(github) if environment == "production" => served(github),
            _ => format!("url: {git}/{name}.git"),
        };
        [
            replace(file, repository, url),
            replace(file, cluster, found),
        ]
    };
    let mut all = vec![
        replace(
            "applications/pipeline.yaml",
            "source: https://github.com/acme/pipeline-application",
            format!("source: {git}/pipeline-application.git"),
        ),
        replace(
            "applications/pipeline.yaml",
            "registry.example.com/acme/pipeline-application",
            images.to_string(),
        ),
        replace(
            "production/environment.yaml",
            "soak: 10m",
            "soak: 2s".to_owned(),
        ),
    ];
    if chosen.is_some() {
        all.push(replace(
            "towpath.yaml",
            "  registry.example.com:\n    credential: { env: REGISTRY_TOKEN, user: towpath }",
            format!(
                "  {}: {{ mirror: \"http://{registry}\" }}",
                quoted(images.host())
            ),
        ));
    }
    if let Some(OnGitHub { host, .. }) = github {
        all.push(replace(
            "production/environment.yaml",
            "# Whoever merges the branch `towpath/production/<application>` approves it.\ngate: branch",
            format!(
                "# Whoever merges the pull request approves it.\ngate: pull-request\nrequest: {{ labels: [deployment], reviewers: [{REVIEWER}] }}"
            ),
        ));
        all.push(replace(
            "towpath.yaml",
            "poll: { git: 30s, registry: 30s }",
            format!(
                "poll: {{ git: 30s, registry: 30s }}\n\nforges:\n  {}: {{ api: \"http://{host}/\" }}",
                quoted(host)
            ),
        ));
    }
    all.extend(environment(
        "staging/environment.yaml",
        "url: https://github.com/acme/pipeline-application-infra-staging",
        "cluster: { context: staging }",
        "{ ready-after: 800ms }",
    ));
    all.extend(environment(
        "qa/environment.yaml",
        "url: https://github.com/acme/pipeline-application-infra-qa",
        "cluster: { context: qa }",
        &format!("{{ ready-after: 800ms, fail: [{BAD}] }}"),
    ));
    all.extend(environment(
        "production/environment.yaml",
        "url: https://github.com/acme/pipeline-application-infra-production",
        "cluster: { context: production, namespace: default }",
        "{ ready-after: 800ms }",
    ));
    all
}

/// What lets Towpath into a repository on GitHub, for git and for the API.
fn served(github: &OnGitHub) -> String {
    let OnGitHub { url, token, .. } = github;
    let token = quoted(&token.display().to_string());
    format!("url: {url}\n  forge: github\n  credential: {{ file: {token}, user: towpath }}")
}

/// A real cluster, of which nothing but the environment's namespace is touched.
fn real(chosen: &Chosen, environment: &str) -> String {
    let namespace = ground::namespace(environment);
    let kubeconfig = chosen.kubeconfig.as_ref().map_or_else(String::new, |path| {
        format!("kubeconfig: {}, ", quoted(&path.display().to_string()))
    });
    format!(
        "cluster: {{ context: {}, {kubeconfig}namespace: {namespace} }}\naccess: {{ namespaces: [{namespace}] }}",
        quoted(&chosen.context)
    )
}

/// A text as YAML: JSON is.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What differs from `environments/`, whole: anything else that is replaced fails this.
    const DIFFERENCE: &str = "\
applications/pipeline.yaml
-    source: https://github.com/acme/pipeline-application
+    source: http://127.0.0.1:1/pipeline-application.git
-      - repository: registry.example.com/acme/pipeline-application
+      - repository: 127.0.0.1:2/acme/pipeline-application
production/environment.yaml
-  url: https://github.com/acme/pipeline-application-infra-production
+  url: http://127.0.0.1:1/pipeline-application-infra-production.git
-cluster: { context: production, namespace: default }
+cluster: { simulated: { ready-after: 800ms } }
-follow: { environment: qa, soak: 10m }
+follow: { environment: qa, soak: 2s }
qa/environment.yaml
-  url: https://github.com/acme/pipeline-application-infra-qa
+  url: http://127.0.0.1:1/pipeline-application-infra-qa.git
-cluster: { context: qa }
+cluster: { simulated: { ready-after: 800ms, fail: [v1.5.0] } }
staging/environment.yaml
-  url: https://github.com/acme/pipeline-application-infra-staging
+  url: http://127.0.0.1:1/pipeline-application-infra-staging.git
-cluster: { context: staging }
+cluster: { simulated: { ready-after: 800ms } }
";

    fn example(folder: &Path, below: &str, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder.join(below)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{below}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => example(folder, &format!("{path}/"), found),
                false => found.push((path, std::fs::read_to_string(entry.path()).unwrap())),
            }
        }
    }

    #[test]
    fn only_addresses_clusters_and_soak_differ() {
        let mut original = Vec::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        example(&root.join("environments"), "", &mut original);
        original.sort();
        let addresses = Addresses {
            git: "http://127.0.0.1:1".to_owned(),
            registry: "127.0.0.1:2".to_owned(),
            images: "127.0.0.1:2/acme/pipeline-application".parse().unwrap(),
            chosen: None,
            github: None,
        };
        let mut replaced = files(&addresses).unwrap();
        replaced.sort();
        let names = |(path, _): &(String, String)| path.clone();
        let original_names: Vec<String> = original.iter().map(names).collect();
        let replaced_names: Vec<&str> = replaced.iter().map(|(path, _)| *path).collect();
        assert_eq!(original_names, replaced_names);
        let mut difference = String::new();
        for ((path, before), (_, after)) in original.iter().zip(&replaced) {
            let lines: Vec<_> = before.split('\n').zip(after.split('\n')).collect();
            assert_eq!(before.split('\n').count(), after.split('\n').count());
            let changed: Vec<_> = lines
                .iter()
                .filter(|(before, after)| before != after)
                .collect();
            if !changed.is_empty() {
                difference.push_str(&format!("{path}\n"));
            }
            for (before, after) in changed {
                difference.push_str(&format!("-{before}\n+{after}\n"));
            }
        }
        assert_eq!(difference, DIFFERENCE);
    }
}
