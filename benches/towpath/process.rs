//! What a running `towpath run` takes: the time until everything that it met is adopted, applied,
//! judged and tagged, resident memory, and a core's share while nothing happens.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};
use towpath::demo::git_server::Endpoint;

use crate::fixture::{Fixture, applications, directory, environment, run};
use crate::table;

/// Longer than the interval at which every source is read without being told to.
const IDLE: Duration = Duration::from_secs(35);
const SETTLES_WITHIN: Duration = Duration::from_secs(600);
const ENVIRONMENTS: [(&str, &str); 3] = [
    ("staging", "follow: { branches: ['*', '!master'] }"),
    ("qa", "follow: { tags: '>=1.0.0' }"),
    (
        "production",
        "follow: { environment: qa, soak: 10m }\ngate: branch",
    ),
];

/// `sizes` are numbers of applications; none: those of the growth curve.
pub(crate) async fn measure(sizes: &[usize]) -> Result<()> {
    let sizes = if sizes.is_empty() {
        &[1, 10, 100, 1000]
    } else {
        sizes
    };
    let mut running = Vec::new();
    for count in sizes {
        running.push(Running::start(*count).await?);
    }
    let before: Vec<_> = running.iter().map(Running::used).collect::<Result<_>>()?;
    let start = Instant::now();
    tokio::time::sleep(IDLE).await;
    let seconds = start.elapsed().as_secs_f64();
    let per_second = ticks_per_second().await?;
    let mut rows = Vec::new();
    for (it, before) in running.iter().zip(before) {
        let after = it.used()?;
        let cpu = (after.ticks - before.ticks) as f64 / per_second;
        rows.push(vec![
            it.name.clone(),
            format!("{:.1}", it.settled_after.as_secs_f64()),
            format!("{:.1}", it.to_settle.ticks as f64 / per_second),
            it.to_settle.registry.to_string(),
            it.to_settle.git.to_string(),
            it.pushes.to_string(),
            format!("{:.1}", mebibytes(&it.child, "VmRSS")?),
            format!("{:.1}", mebibytes(&it.child, "VmHWM")?),
            format!("{:.2} %", 100.0 * cpu / seconds),
            format!(
                "{:.1}",
                (after.requests() - before.requests()) as f64 / seconds
            ),
        ]);
    }
    table::print(
        &format!("`towpath run`, at rest for {} s", IDLE.as_secs()),
        &[
            "",
            "first settled, s",
            "CPU until then, s",
            "requests to the registry",
            "to git",
            "of these pushes",
            "resident, MiB",
            "peak, MiB",
            "of a core",
            "requests each second",
        ],
        rows,
    );
    Ok(())
}

struct Running {
    name: String,
    child: Child,
    settled_after: Duration,
    to_settle: Used,
    pushes: usize,
    fixture: Fixture,
}

/// What a process took so far.
#[derive(Default)]
struct Used {
    /// User and system time, in clock ticks (proc(5)).
    ticks: u64,
    /// Requests to the registry.
    registry: usize,
    /// Requests to the git server.
    git: usize,
}

impl Used {
    fn requests(&self) -> usize {
        self.registry + self.git
    }
}

impl Running {
    /// So many applications in three environments, adopted, applied, judged and tagged.
    async fn start(count: usize) -> Result<Self> {
        let fixture = Fixture::start().await?;
        let names: Vec<String> = (0..count).map(|it| format!("app-{it:04}")).collect();
        let mut digests = Vec::new();
        for name in &names {
            digests.push(
                fixture
                    .push_image(&format!("acme/{name}"), "v1.0.0", 0)
                    .await?,
            );
        }
        let images: Vec<String> = names
            .iter()
            .map(|name| fixture.image(&format!("acme/{name}")))
            .collect();
        let mut files = vec![applications(
            names.iter().cloned().zip(images.iter().cloned()),
            &ENVIRONMENTS.map(|(name, _)| name),
        )];
        for (environment_name, rest) in ENVIRONMENTS {
            let mut made = Vec::new();
            for ((name, image), digest) in names.iter().zip(&images).zip(&digests) {
                let image = format!("{image}:v1.0.0@{digest}");
                made.extend(directory(&format!("kubernetes/{name}"), name, &image));
            }
            fixture.repository(environment_name, made).await?;
            let url = fixture.git.url(environment_name);
            let manifests = "kubernetes/{application}";
            files.push(environment(environment_name, &url, manifests, rest));
        }
        let configuration = fixture.folder.path().join("configuration");
        write(&configuration, &files)?;
        let start = Instant::now();
        let child = towpath(fixture.folder.path(), &configuration, "127.0.0.1:0")?;
        let mut running = Self {
            name: format!("{count} × {} environments", ENVIRONMENTS.len()),
            child,
            settled_after: Duration::ZERO,
            to_settle: Used::default(),
            pushes: 0,
            fixture,
        };
        let pushed = running.fixture.registry.counts().all();
        for (name, _) in ENVIRONMENTS {
            let repository = running.fixture.git.path(name);
            while !is_settled(&repository, name, count).await? {
                if start.elapsed() > SETTLES_WITHIN {
                    bail!("{} in {name}: not settled in time", running.name);
                }
                if let Some(status) = running.child.try_wait()? {
                    bail!("towpath run ended: {status}");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        running.settled_after = start.elapsed();
        running.to_settle = running.used()?;
        running.to_settle.registry -= pushed;
        running.pushes = running.asked_git(&[Endpoint::Receive]);
        Ok(running)
    }

    fn used(&self) -> Result<Used> {
        let all = [Endpoint::Discover, Endpoint::Upload, Endpoint::Receive];
        Ok(Used {
            ticks: ticks(&self.child)?,
            registry: self.fixture.registry.counts().all(),
            git: self.asked_git(&all),
        })
    }

    fn asked_git(&self, endpoints: &[Endpoint]) -> usize {
        let names = ENVIRONMENTS.iter().map(|(name, _)| name);
        let counts = names.flat_map(|name| {
            let git = &self.fixture.git;
            endpoints.iter().map(move |it| git.count(name, *it))
        });
        counts.sum()
    }
}

/// Writes a configuration folder.
pub(crate) fn write(folder: &Path, files: &[(String, String)]) -> Result<()> {
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().context("no folder")?)?;
        std::fs::write(path, text)?;
    }
    Ok(())
}

/// Starts `towpath run`, its cache in this folder, taking webhooks at this address.
pub(crate) fn towpath(folder: &Path, configuration: &Path, hooks: &str) -> Result<Child> {
    command(folder, configuration, &["run", "--listen", hooks])
}

/// Starts towpath, its cache and its log in this folder.
pub(crate) fn command(folder: &Path, configuration: &Path, arguments: &[&str]) -> Result<Child> {
    let log = std::fs::File::create(folder.join("towpath.log"))?;
    Command::new(env!("CARGO_BIN_EXE_towpath"))
        .args(arguments)
        .arg("--config")
        .arg(configuration)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("HOME", folder)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("towpath cannot be started")
}

/// A process's memory in MiB: `VmRSS` is what is resident, `VmHWM` the most that was (proc(5)).
pub(crate) fn mebibytes(child: &Child, field: &str) -> Result<f64> {
    let status = std::fs::read_to_string(process(child)?.join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let line = line.with_context(|| format!("no {field} in /proc"))?;
    let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    Ok(number.parse::<f64>()? / 1024.0)
}

/// User and system time of a process so far, in clock ticks (proc(5)).
pub(crate) fn ticks(child: &Child) -> Result<u64> {
    let stat = std::fs::read_to_string(process(child)?.join("stat"))?;
    let (_, after_name) = stat.rsplit_once(')').context("no name in /proc")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let [user, system] = [fields.get(11), fields.get(12)].map(|it| it.copied().unwrap_or("0"));
    Ok(user.parse::<u64>()? + system.parse::<u64>()?)
}

/// How many clock ticks a second has.
pub(crate) async fn ticks_per_second() -> Result<f64> {
    let told = run(Path::new("/"), "getconf", &["CLK_TCK"]).await?;
    Ok(told.parse()?)
}

fn process(child: &Child) -> Result<PathBuf> {
    let id = child.id().context("towpath ended")?;
    Ok(PathBuf::from(format!("/proc/{id}")))
}

/// Whether the records of an environment tell of so many units, and of no deployment that waits for a
/// verdict or its tag.
pub(crate) async fn is_settled(repository: &Path, environment: &str, units: usize) -> Result<bool> {
    let present = format!("refs/notes/towpath/{environment}:present");
    let standing = format!("{present}/environment");
    let Ok(standing) = run(repository, "git", &["cat-file", "blob", &standing]).await else {
        return Ok(false);
    };
    if standing.contains("\"open\"") {
        return Ok(false);
    }
    let applications = format!("{present}/applications");
    let listed = run(
        repository,
        "git",
        &["ls-tree", "--name-only", &applications],
    )
    .await?;
    Ok(listed.lines().count() == units)
}
