//! A real control plane: from a commit to what runs, beside the same requests made bare, and a thousand
//! applications. `tests/testbed/build` makes the plane; it has controllers and no nodes.

mod apply;
mod audit;
mod merged;
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

/// `apply`, `thousand` and `merged` are the parts.
pub(crate) async fn measure(parts: [bool; 3]) -> Result<()> {
    let Some(binary) = std::env::var_os(BINARY).map(PathBuf::from) else {
        println!("\nNot measured: what Kubernetes takes needs {BINARY}=$(tests/testbed/build).");
        return Ok(());
    };
    if parts[0] {
        apply::measure(&binary).await?;
    }
    if parts[1] {
        thousand::measure(&binary).await?;
    }
    if parts[2] {
        merged::measure(&binary).await?;
    }
    Ok(())
}
