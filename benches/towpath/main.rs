//! What must be fast, measured side by side in one run: see `benches/README.md` for how to read it.
//!
//! `cargo bench` measures everything; `cargo bench -- push scale` only these parts, and
//! `cargo bench -- process 5000` one of them with so many applications. Nothing is asserted.

#![allow(clippy::print_stdout, reason = "the tables are the product")]
#![allow(
    clippy::print_stderr,
    reason = "and how far they are is told beside them"
)]

mod fixture;
mod hundred;
mod kube;
mod marks;
mod notification;
mod operator;
mod outside;
mod process;
mod push;
mod recorder;
mod scale;
mod table;

use anyhow::Result;

fn main() -> Result<()> {
    let arguments = std::env::args().skip(1);
    let arguments = arguments.filter(|argument| !argument.starts_with('-'));
    let (mut wanted, mut sizes) = (Vec::new(), Vec::new());
    for argument in arguments {
        match argument.parse::<usize>() {
            Ok(size) => sizes.push(size),
            Err(_) => wanted.push(argument),
        }
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|it| it == name);
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .init();
    }
    // The worker threads of `towpath run` itself.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if is_wanted("push") {
            push::measure().await?;
        }
        if is_wanted("notification") {
            notification::measure().await?;
        }
        if is_wanted("hundred") {
            hundred::measure().await?;
        }
        if is_wanted("scale") {
            scale::measure().await?;
        }
        if is_wanted("operator") {
            operator::measure().await?;
        }
        if is_wanted("outside") {
            outside::measure().await?;
        }
        if is_wanted("process") {
            process::measure(&sizes).await?;
        }
        let parts = ["kube", "thousand", "merged"].map(is_wanted);
        if parts.contains(&true) {
            kube::measure(parts).await?;
        }
        Ok(())
    })
}
