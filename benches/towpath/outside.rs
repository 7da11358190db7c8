//! From the registry's 201 to the commit's post-receive hook, with nothing of Towpath's own outside
//! of `towpath run`: Debian's `docker-registry` sends the notifications, with the secret that it shares with
//! Towpath, `lighttpd` serves the repository through `git http-backend`, all on one machine and one clock. In
//! a repository of few files, and of many.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, LOCATION, USER_AGENT};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use towpath::clock;
use towpath::demo::git_server::{commit_first, init_bare};
use towpath::git::Signature;
use towpath::http::{self, HttpSettings};
use towpath::model::Digest;

use crate::fixture::{applications, environment, run};
use crate::process::{towpath, write};
use crate::scale::directories;
use crate::table::{self, Samples};

const TIMES: usize = 100;
const WARM_UP: usize = 10;
const DEADLINE: Duration = Duration::from_secs(30);
const SECRET: &str = "known-to-both";
/// Not Towpath's own: what it pushed itself wakes it not.
const AGENT: &str = "skopeo/1.0";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Writes the time in microseconds behind each new head of `master`; a shell built-in, so that no
/// further process is started.
const HOOK: &str = "#!/bin/bash
now=$EPOCHREALTIME
while read -r old new ref; do
  [ \"$ref\" = refs/heads/master ] && [ $old != $new ] && echo \"$now $new\" >> landed
done
exit 0
";

pub(crate) async fn measure() -> Result<()> {
    for program in ["docker-registry", "lighttpd", "bash"] {
        let found = run(
            Path::new("/"),
            "sh",
            &["-c", &format!("command -v {program}")],
        )
        .await;
        if found.is_err() {
            println!("\nNot measured: 201 → post-receive outside this process needs {program}.");
            return Ok(());
        }
    }
    let mut rows = Vec::new();
    for files in [100, 20_000] {
        let site = Site::start(files).await?;
        let mut samples = Samples::default();
        for number in 1..=WARM_UP + TIMES {
            let took = site.release(number).await?;
            if number > WARM_UP {
                samples.add(took);
            }
            table::progress(&format!("outside, {files} files"), number, WARM_UP + TIMES);
            site.rest().await?;
        }
        rows.push([vec![format!("{files} files")], samples.row()].concat());
    }
    table::print(
        "Registry's 201 → post-receive of the commit: docker-registry, lighttpd and git outside",
        &[&[""], &table::ROW[..]].concat(),
        rows,
    );
    Ok(())
}

struct Site {
    folder: TempDir,
    client: reqwest::Client,
    registry: String,
    _servers: Vec<Child>,
}

impl Site {
    async fn start(files: usize) -> Result<Self> {
        let folder = TempDir::with_prefix("towpath-outside-")?;
        let here = folder.path();
        let [registry, git, hooks] = [free_port()?, free_port()?, free_port()?];
        let mut site = Self {
            client: http::client(&HttpSettings::default())?,
            registry: format!("127.0.0.1:{registry}"),
            _servers: Vec::new(),
            folder: TempDir::new_in(here.parent().context("no parent")?)?,
        };
        site.folder = folder;
        let here = site.folder.path().to_owned();
        let registry_file = here.join("registry.yml");
        std::fs::write(&registry_file, registry_settings(&here, registry, hooks))?;
        let git_file = here.join("lighttpd.conf");
        std::fs::write(&git_file, lighttpd_settings(&here, git).await?)?;
        site._servers = vec![
            server(&here, "docker-registry", &["serve", "registry.yml"])?,
            server(&here, "lighttpd", &["-D", "-f", "lighttpd.conf"])?,
        ];
        site.answers(&format!("http://{}/v2/", site.registry))
            .await?;

        site.blob(&Self::configuration(0)).await?;
        let (digest, _) = site.manifest(0).await?;
        let image = format!("{}/acme/shop", site.registry);
        let repository = here.join("git/staging.git");
        init_bare(&repository).await?;
        let by = Signature {
            name: "Ada".to_owned(),
            email: "ada@example.com".to_owned(),
            time: clock::now(),
        };
        let files = directories(files)(&format!("{image}:main-0000000@{digest}"));
        commit_first(&repository, files, "first", &by).await?;
        run(&repository, "git", &["config", "http.receivepack", "true"]).await?;
        let url = format!("http://127.0.0.1:{git}/staging.git");
        site.answers(&format!("{url}/info/refs?service=git-upload-pack"))
            .await?;

        let configuration = here.join("configuration");
        let files = [
            environment(
                "staging",
                &url,
                "kubernetes/{application}",
                "follow: { branches: ['*', '!master'] }",
            ),
            applications([("shop".to_owned(), image)], &["staging"]),
            (
                "towpath.yaml".to_owned(),
                format!(
                    "listen: 127.0.0.1:{hooks}\nwebhooks: {{ registry: {{ secrets: [{{ file: ../secret }}] }} }}\n"
                ),
            ),
        ];
        write(&configuration, &files)?;
        std::fs::write(here.join("secret"), SECRET)?;
        site._servers.push(towpath(
            &here,
            &configuration,
            &format!("127.0.0.1:{hooks}"),
        )?);
        let start = Instant::now();
        while !tags(&repository).await?.contains("deployment-0001") {
            ensure!(start.elapsed() < DEADLINE, "the baseline is not adopted");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // From here on every commit's moment is written down.
        std::fs::create_dir_all(repository.join("hooks"))?;
        let hook = repository.join("hooks/post-receive");
        std::fs::write(&hook, HOOK)?;
        run(&here, "chmod", &["+x", &hook.display().to_string()]).await?;
        Ok(site)
    }

    /// Pushes an image and waits for its commit: from the registry's answer to the hook's time.
    async fn release(&self, number: usize) -> Result<Duration> {
        self.blob(&Self::configuration(number)).await?;
        let (_, answered) = self.manifest(number).await?;
        let landed = self.folder.path().join("git/staging.git/landed");
        let start = Instant::now();
        loop {
            let lines = std::fs::read_to_string(&landed).unwrap_or_default();
            if let Some(line) = lines.lines().nth(number - 1) {
                let time = line.split(' ').next().unwrap_or_default();
                let at = Timestamp::from_microsecond(time.replace('.', "").parse()?)?;
                return Ok(Duration::try_from(at.duration_since(answered)).unwrap_or_default());
            }
            if start.elapsed() > DEADLINE {
                bail!("image {number} does not land: {}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the records of the deployment are complete: verdict and tag.
    async fn rest(&self) -> Result<()> {
        let repository = self.folder.path().join("git/staging.git");
        let commits = run(&repository, "git", &["rev-list", "--count", "master"]).await?;
        let tag = format!("deployment-{commits:0>4}");
        let start = Instant::now();
        while !tags(&repository).await?.contains(&tag) {
            ensure!(start.elapsed() < DEADLINE, "no {tag}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // And until the loop has seen its own tag.
        tokio::time::sleep(Duration::from_millis(30)).await;
        Ok(())
    }

    /// The end of what `towpath run` said.
    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("towpath.log"));
        let log = log.unwrap_or_default();
        log.lines().rev().take(20).collect::<Vec<_>>().join("\n")
    }

    fn configuration(number: usize) -> Vec<u8> {
        let at = 1_767_225_600 + i64::try_from(number).unwrap_or_default();
        let created = Timestamp::from_second(at).unwrap_or_default().to_string();
        json!({
            "created": created, "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [] },
        })
        .to_string()
        .into_bytes()
    }

    async fn blob(&self, content: &[u8]) -> Result<()> {
        let url = format!("http://{}/v2/acme/shop/blobs/uploads/", self.registry);
        let begun = self.client.post(url).send().await?.error_for_status()?;
        let place = begun.headers().get(LOCATION).context("no Location")?;
        let mut place: url::Url = place.to_str()?.parse()?;
        let digest = Digest::of(content).to_string();
        place.query_pairs_mut().append_pair("digest", &digest);
        let put = self.client.put(place).body(content.to_vec());
        put.send().await?.error_for_status()?;
        Ok(())
    }

    /// Puts the manifest; gives its digest, and when the registry had answered.
    async fn manifest(&self, number: usize) -> Result<(Digest, Timestamp)> {
        let configuration = Self::configuration(number);
        let body = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::of(&configuration).to_string(), "size": configuration.len(),
            },
        })
        .to_string();
        let tag = format!("main-{number:07x}");
        let url = format!("http://{}/v2/acme/shop/manifests/{tag}", self.registry);
        let digest = Digest::of(body.as_bytes());
        let put = self
            .client
            .put(url)
            .header(CONTENT_TYPE, MANIFEST)
            .header(USER_AGENT, AGENT)
            .body(body);
        let response = put.send().await?;
        let answered = clock::now();
        ensure!(
            response.status() == 201,
            "the manifest: {}",
            response.status()
        );
        Ok((digest, answered))
    }

    async fn answers(&self, url: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            match self.client.get(url).send().await {
                Ok(response) if response.status().is_success() => return Ok(()),
                answer if start.elapsed() > DEADLINE => bail!("{url}: {answer:?}"),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

async fn tags(repository: &Path) -> Result<String> {
    run(
        repository,
        "git",
        &["for-each-ref", "--format=%(refname:short)", "refs/tags"],
    )
    .await
}

/// A port that nobody listens at now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

fn server(folder: &Path, program: &str, arguments: &[&str]) -> Result<Child> {
    let log = std::fs::File::create(folder.join(format!("{program}.log")))?;
    Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{program} cannot be started"))
}

fn registry_settings(folder: &Path, port: u16, hooks: u16) -> String {
    format!(
        "version: 0.1
storage: {{ filesystem: {{ rootdirectory: {folder}/registry }}, delete: {{ enabled: true }} }}
http: {{ addr: '127.0.0.1:{port}', secret: testbed }}
log: {{ level: error, accesslog: {{ disabled: true }} }}
notifications:
  endpoints:
    - name: towpath
      url: http://127.0.0.1:{hooks}/hooks/registry
      headers: {{ Authorization: ['Bearer {SECRET}'] }}
      timeout: 1s
      threshold: 5
      backoff: 100ms
      ignore: {{ actions: [pull] }}
",
        folder = folder.display()
    )
}

async fn lighttpd_settings(folder: &Path, port: u16) -> Result<String> {
    let programs = run(folder, "git", &["--exec-path"]).await?;
    Ok(format!(
        "server.modules = (\"mod_alias\", \"mod_cgi\", \"mod_setenv\")
server.bind = \"127.0.0.1\"
server.port = {port}
server.document-root = \"{folder}\"
server.stream-request-body = 0
alias.url = (\"/\" => \"{programs}/git-http-backend/\")
setenv.set-environment = (
  \"GIT_PROJECT_ROOT\" => \"{folder}/git\",
  \"GIT_HTTP_EXPORT_ALL\" => \"1\",
  \"REMOTE_USER\" => \"towpath\",
)
cgi.assign = (\"\" => \"\")
",
        folder = folder.display()
    ))
}
