//! Tests on a real Kubernetes control plane. One plane serves the whole run, and tests keep apart by
//! namespace and user; who kills anything takes a plane of its own.

mod apply;
mod audit;
mod bed;
mod commands;
mod demo;
mod faults;
mod hooks;
mod live;
mod logs;
mod parts;
mod plane;
mod pods;
mod roles;
mod stands;

use std::path::PathBuf;
use std::sync::OnceLock;

pub(crate) use bed::Bed;

/// The variable that names the binary which `tests/testbed/build` makes.
const BINARY: &str = "TOWPATH_TESTBED_KUBE";

/// The plane of this run, started for the first who asks. `None` after saying that the test is skipped;
/// where CI is set, that is a failure.
pub(crate) fn shared() -> Option<&'static Bed> {
    static SHARED: OnceLock<anyhow::Result<Bed>> = OnceLock::new();
    let binary = binary()?;
    match SHARED.get_or_init(|| start_for_good(binary)) {
        Ok(bed) => Some(bed),
        Err(error) => panic!("{error:#}"),
    }
}

/// A plane for one test, which may do to it what it wants.
pub(crate) async fn own() -> Option<Bed> {
    Some(Bed::start(&binary()?).await.unwrap())
}

/// Statics are never dropped: the plane goes because its parts' standard input closes with this process.
fn start_for_good(binary: PathBuf) -> anyhow::Result<Bed> {
    let (hand_over, started) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            hand_over.send(Bed::start(&binary).await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    started.recv()?
}

fn binary() -> Option<PathBuf> {
    let binary = std::env::var_os(BINARY).map(PathBuf::from);
    if binary.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{BINARY} is not set: tests/testbed/build prints what belongs there"
        );
        println!("skipped: {BINARY} is not set (tests/testbed/build prints what belongs there)");
    }
    binary
}
