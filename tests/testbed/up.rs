//! Planes for shell scripts: `tests/testbed/up DIR NAME...` starts one for each name, with pods that have
//! fates, and says in DIR how to get at them. Owns nothing that `tests/it/kube` does not.

#[path = "../it/kube/parts.rs"]
mod parts;
#[path = "../it/kube/plane.rs"]
mod plane;
#[path = "../it/kube/pods.rs"]
mod pods;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use plane::Plane;
use pods::Rule;

/// How often a file of rules is looked at, and whether somebody still waits for us.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn run(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let parent = std::os::unix::process::parent_id();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let directory = PathBuf::from(arguments.next().context("usage: up DIR NAME...")?);
    let names: Vec<String> = arguments.collect();
    ensure!(!names.is_empty(), "usage: up DIR NAME...");
    let binary = std::env::var_os("TOWPATH_TESTBED_KUBE").context(
        "TOWPATH_TESTBED_KUBE is not set: tests/testbed/build prints what belongs there",
    )?;
    std::fs::create_dir_all(&directory)?;
    // What stands there from an earlier run tells of planes that are gone.
    std::fs::remove_file(directory.join("pids")).ok();

    let starting = names.iter().map(|_| Plane::start(Path::new(&binary)));
    let mut planes = tokio::select! {
        planes = try_join_all(starting) => planes?,
        _ = interrupted.recv() => return Ok(()),
        _ = terminated.recv() => return Ok(()),
    };
    for (name, plane) in names.iter().zip(&planes) {
        set_up(&directory, name, plane).await?;
    }
    tell(&directory, &names, &planes)?;

    // A script that was killed cannot tell us to end.
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            _ = look.tick() => if std::os::unix::process::parent_id() != parent {
                return Ok(());
            },
        }
        for (name, plane) in names.iter().zip(&mut planes) {
            let gone = plane.apiserver.child.try_wait()?.is_some();
            if gone && !directory.join(format!("{name}.down")).exists() {
                plane.restart_apiserver(Path::new(&binary)).await?;
                tell(&directory, &names, &planes)?;
                break;
            }
        }
    }
}

/// Writes which processes run, on standard output and in the last file: who waits for it finds the others.
fn tell(directory: &Path, names: &[String], planes: &[Plane]) -> anyhow::Result<()> {
    let mut pids = String::new();
    for (name, plane) in names.iter().zip(planes) {
        for (part, pid) in plane.pids() {
            let pid = pid.context("a part ended")?;
            pids.push_str(&format!("{name} {part} {pid}\n"));
        }
    }
    std::fs::write(directory.join("pids.new"), &pids)?;
    std::fs::rename(directory.join("pids.new"), directory.join("pids"))?;
    std::io::stdout().write_all(pids.as_bytes())?;
    Ok(())
}

/// Writes how to get at one plane and lets its pods live.
async fn set_up(directory: &Path, name: &str, plane: &Plane) -> anyhow::Result<()> {
    let file = |ending: &str| directory.join(format!("{name}.{ending}"));
    let user = plane.new_user();
    std::fs::write(file("kubeconfig"), plane.kubeconfig(name, &Plane::admin())?)?;
    std::fs::write(file("user.kubeconfig"), plane.kubeconfig(name, &user)?)?;
    std::fs::remove_file(file("audit.log")).ok();
    std::os::unix::fs::symlink(plane.audit_log(), file("audit.log"))?;
    let client = plane.client(&Plane::faker()).await?;
    let node = plane.node();
    pods::make_node(client.clone(), &node).await?;
    let (rules, given) = watch::channel(Vec::new());
    tokio::spawn(follow(file("rules"), rules));
    tokio::spawn(pods::fake(client, node, given));
    Ok(())
}

/// Hands on the file's rules whenever they change; a file that cannot be read whole changes nothing.
async fn follow(path: PathBuf, rules: watch::Sender<Vec<Rule>>) {
    let mut look = tokio::time::interval(LOOK);
    while !rules.is_closed() {
        look.tick().await;
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        if let Ok(new) = lines.map(str::parse).collect::<anyhow::Result<Vec<Rule>>>() {
            rules.send_if_modified(|old| {
                let changed = *old != new;
                *old = new;
                changed
            });
        }
    }
}
