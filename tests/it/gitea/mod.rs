//! Tests on a real Gitea. One serves the whole run; tests keep apart by repository.

mod bed;
mod clone;
mod server;

use std::path::PathBuf;
use std::sync::OnceLock;

pub(crate) use bed::{Bed, Person};
pub(crate) use clone::Clone;

/// The variable that names the binary which `tests/testbed/build gitea` makes.
const BINARY: &str = "TOWPATH_TESTBED_GITEA";

/// The Gitea of this run, started for the first who asks. `None` after saying that the test is skipped;
/// where CI is set, that is a failure.
pub(crate) fn shared() -> Option<&'static Bed> {
    static SHARED: OnceLock<anyhow::Result<Bed>> = OnceLock::new();
    let binary = binary()?;
    match SHARED.get_or_init(|| start_for_good(binary)) {
        Ok(bed) => Some(bed),
        Err(error) => panic!("{error:#}"),
    }
}

/// Statics are never dropped: it goes because its standard input closes with this process.
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
            "{BINARY} is not set: `tests/testbed/build gitea` prints what belongs there"
        );
        println!(
            "skipped: {BINARY} is not set (`tests/testbed/build gitea` prints what belongs there)"
        );
    }
    binary
}
