//! Tests on a real Kubernetes control plane. One plane serves the whole run, and tests keep apart by
//! namespace and user; who kills anything takes a plane of its own.

mod apply;
mod audit;
mod bed;
mod faults;
mod plane;
mod pods;
mod stands;

use std::path::PathBuf;
use std::sync::OnceLock;

pub(crate) use bed::Bed;

/// The variable that names the binary which `tests/testbed/build` makes.
const BINARY: &str = "TOWPATH_TESTBED_KUBE";

/// The plane of this run, started for the first who asks. `None` after saying that the test is skipped;
/// where CI is set, that is a failure.
pub(crate) fn shared() -> Option<&'static Bed> {
    static SHARED: OnceLock<Option<Bed>> = OnceLock::new();
    SHARED
        .get_or_init(|| Some(start_for_good(binary()?)))
        .as_ref()
}

/// A plane for one test, which may do to it what it wants.
pub(crate) async fn own() -> Option<Bed> {
    Some(Bed::start(&binary()?).await.unwrap())
}

/// Statics are never dropped: the plane goes because its parts' standard input closes with this process.
fn start_for_good(binary: PathBuf) -> Bed {
    let (hand_over, started) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            hand_over.send(Bed::start(&binary).await.unwrap()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    started.recv().expect("the plane starts")
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
