//! A real control plane: from a commit to what runs, beside the same requests made bare, and a thousand
//! applications. `tests/testbed/build` makes the plane; it has controllers and no nodes.

mod apply;
mod audit;
#[path = "../../../tests/it/kube/plane.rs"]
mod plane;
#[path = "../../../tests/it/kube/pods.rs"]
mod pods;
mod site;
mod thousand;

use std::path::PathBuf;

use anyhow::Result;

/// The variable that names the binary which `tests/testbed/build` makes.
const BINARY: &str = "TOWPATH_TESTBED_KUBE";

/// `apply` and `thousand` are the two halves.
pub(crate) async fn measure(halves: [bool; 2]) -> Result<()> {
    let Some(binary) = std::env::var_os(BINARY).map(PathBuf::from) else {
        println!("\nNot measured: what Kubernetes takes needs {BINARY}=$(tests/testbed/build).");
        return Ok(());
    };
    if halves[0] {
        apply::measure(&binary).await?;
    }
    if halves[1] {
        thousand::measure(&binary).await?;
    }
    Ok(())
}
