//! A real server that serves the whole run. It needs a binary which `tests/testbed/build` makes: without it,
//! tests say that they are skipped; where CI is set, that is a failure.

use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::OnceLock;

/// A kind of server, and the one of this run.
pub(crate) struct Testbed<B> {
    /// The variable that names the binary.
    variable: &'static str,
    /// What makes it.
    build: &'static str,
    shared: OnceLock<anyhow::Result<B>>,
}

impl<B: Send + Sync + 'static> Testbed<B> {
    pub(crate) const fn new(variable: &'static str, build: &'static str) -> Self {
        Self {
            variable,
            build,
            shared: OnceLock::new(),
        }
    }

    /// The binary. `None` after saying that the test is skipped.
    pub(crate) fn binary(&self) -> Option<PathBuf> {
        let Self {
            variable, build, ..
        } = self;
        let binary = std::env::var_os(variable).map(PathBuf::from);
        if binary.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "{variable} is not set: `{build}` prints what belongs there"
            );
            println!("skipped: {variable} is not set (`{build}` prints what belongs there)");
        }
        binary
    }

    /// The server of this run, started for the first who asks.
    pub(crate) fn shared(
        &'static self,
        start: impl AsyncFnOnce(PathBuf) -> anyhow::Result<B> + Send + 'static,
    ) -> Option<&'static B> {
        let binary = self.binary()?;
        match self.shared.get_or_init(|| start_for_good(binary, start)) {
            Ok(bed) => Some(bed),
            Err(error) => panic!("{error:#}"),
        }
    }
}

/// Statics are never dropped: it goes because its standard input closes with this process.
fn start_for_good<B: Send + 'static>(
    binary: PathBuf,
    start: impl AsyncFnOnce(PathBuf) -> anyhow::Result<B> + Send + 'static,
) -> anyhow::Result<B> {
    let (hand_over, started) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            hand_over.send(start(binary).await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    started.recv()?
}

/// A free port that the system gives to nobody who asks for any: it stays free while its server is away.
pub(crate) fn lasting_port() -> u16 {
    const LEAST: u64 = 10_000;
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let range = range.unwrap_or_default();
    let first = range
        .split_whitespace()
        .next()
        .and_then(|it| it.parse().ok());
    // Where the system gives out all of them there is none, and one of those must do.
    let end = first.filter(|it| *it > LEAST + 1000).unwrap_or(60_000);
    loop {
        let drawn = LEAST + RandomState::new().hash_one(0) % (end - LEAST);
        let port = u16::try_from(drawn).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
