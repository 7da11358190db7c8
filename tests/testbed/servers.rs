//! Servers for shell scripts, the same that the tests start in their own process. `planes DIR NAME...` is
//! run by `tests/testbed/up`, `github REPOSITORY...` by `tests/real/forge.sh`.

mod github;
mod up;

use anyhow::bail;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("planes") => up::run(arguments).await,
        Some("github") => github::run(arguments).await,
        _ => bail!("usage: testbed planes DIR NAME... | github OWNER/REPOSITORY..."),
    }
}
