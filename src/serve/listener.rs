//! Connections: how many, how long, and behind which certificate.
//!
//! Whoever connects costs little until a whole request is there: a head has a size and a time, and where
//! there are too many connections the one that stands longest makes room. So a probe, or a forge, gets
//! through beside any number that only hold theirs open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use super::tls::Certificate;

/// Connections at a time. Forges and registries need a few.
const CONNECTIONS_MAX: usize = 256;

/// What a request's head may hold, in bytes.
const HEAD_MAX: usize = 16 << 10;

/// How long a head may take to come, also the first of a connection that is kept, and how long the keys
/// of TLS may be agreed on.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long a connection may stand in all: senders make new ones.
const STAND_MAX: Duration = Duration::from_secs(120);

/// Where the system has no more connections to give, how long none is taken.
const SYSTEM_REST: Duration = Duration::from_millis(100);

/// How long connections have to end when all ends.
const END_TIME: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Listener {
    pub(super) listener: TcpListener,
    pub(super) certificate: Option<Certificate>,
    pub(super) router: Router,
    pub(super) metrics: Arc<Metrics>,
}

impl Listener {
    /// Takes connections until stopped.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut standing: BTreeMap<u64, AbortHandle> = BTreeMap::new();
        let certificate = self.certificate.map(Arc::new);
        let mut number = 0;
        loop {
            let stream = tokio::select! {
                stream = self.listener.accept() => stream,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    // One that was closed for another is not listed any more.
                    if let Ok(number) = ended {
                        standing.remove(&number);
                    }
                    continue;
                }
                () = stop.cancelled() => break,
            };
            let stream = match stream {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "no connection can be taken");
                    tokio::time::sleep(SYSTEM_REST).await;
                    continue;
                }
            };
            if standing.len() >= CONNECTIONS_MAX
                && let Some((_, oldest)) = standing.pop_first()
            {
                oldest.abort();
                self.metrics.evicted.inc();
            }
            number += 1;
            let (router, certificate) = (self.router.clone(), certificate.clone());
            let stop = stop.clone();
            let task = tasks.spawn(async move {
                let serving = connection(stream, certificate, router, stop);
                // Why a connection ended is its peer's affair.
                drop(tokio::time::timeout(STAND_MAX, serving).await);
                number
            });
            standing.insert(number, task);
        }
        let ended = async { while tasks.join_next().await.is_some() {} };
        drop(tokio::time::timeout(END_TIME, ended).await);
    }
}

async fn connection(
    stream: TcpStream,
    certificate: Option<Arc<Certificate>>,
    router: Router,
    stop: CancellationToken,
) {
    // Answers are small: they are not kept back for more to come.
    drop(stream.set_nodelay(true));
    match certificate {
        None => serve(stream, router, stop).await,
        Some(certificate) => {
            let acceptor = certificate.acceptor().await;
            let agreed = tokio::time::timeout(HEAD_TIME, acceptor.accept(stream)).await;
            if let Ok(Ok(stream)) = agreed {
                serve(stream, router, stop).await;
            }
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    router: Router,
    stop: CancellationToken,
) {
    let service = TowerToHyperService::new(router);
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        // Why a connection ended is its peer's affair.
        _ended = &mut connection => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    drop(connection.await);
}
