//! A TCP proxy in front of any server, at which the wire breaks on demand: slow, silent, cut, reset, gone.
//!
//! Owns bytes and connections, never what they mean. What breaks is set at run time and befalls open
//! connections as well as new ones.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What is read at once.
const PIECE: usize = 16 << 10;

/// Connections that wait to be taken.
const BACKLOG: u32 = 1024;

/// How finely a throttled wire is measured.
const GRAINS: u64 = 50;

/// What befalls every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    Pass,
    /// Each piece comes so much later, in both directions.
    Delay(Duration),
    /// So many bytes pass in a second, in each direction.
    Throttle(u64),
    /// Connections are taken, and nothing moves: nothing is even read.
    Stall,
    /// Everything is taken, and nothing is handed on.
    BlackHole,
    /// A connection ends once the client has sent so many bytes, which still arrive.
    CutRequest(u64),
    /// A connection ends once the server has answered so many bytes, which still arrive.
    CutAnswer(u64),
    /// Connections are reset, new ones at once.
    Reset,
    /// Nobody listens, and what was open is reset: as if the server's process were gone.
    Refuse,
}

/// A running proxy; it stops when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    listens: watch::Receiver<bool>,
    counts: Arc<Counts>,
    task: JoinHandle<Infallible>,
    /// Nobody else gets the port while nobody listens.
    _port: TcpSocket,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    broken: AtomicU64,
    requested: AtomicU64,
    answered: AtomicU64,
}

/// What was seen until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Connections that were taken.
    pub(crate) connections: u64,
    /// Of these, cut or reset.
    pub(crate) broken: u64,
    /// Bytes that reached the server.
    pub(crate) requested: u64,
    /// Bytes that reached clients.
    pub(crate) answered: u64,
}

/// Why a connection ends before its time.
enum Break {
    /// Cut: what was sent arrives, then nothing.
    Cut,
    /// Reset.
    Reset,
    /// One side went away by itself.
    Gone,
}

impl From<io::Error> for Break {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

impl Proxy {
    /// A proxy in front of that server, on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port is to be had.
    pub(crate) async fn start(server: SocketAddr) -> io::Result<Self> {
        let port = socket(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = port.local_addr()?;
        let first = listen(address)?;
        let (fault, told) = watch::channel(Fault::Pass);
        let (listening, listens) = watch::channel(true);
        let counts = Arc::new(Counts::default());
        let door = Door {
            server,
            address,
            told,
            listening,
            counts: Arc::clone(&counts),
        };
        Ok(Self {
            address,
            fault,
            listens,
            counts,
            task: tokio::spawn(door.keep(first)),
            _port: port,
        })
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this befalls connections. Returns once nobody listens any more, or somebody does again.
    pub(crate) async fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
        let listens = fault != Fault::Refuse;
        let mut told = self.listens.clone();
        let waited = told.wait_for(|it| *it == listens).await;
        drop(waited.expect("it runs as long as this is kept"));
        // What another test is starting right now holds what listened until it is on its way.
        while !listens && TcpStream::connect(self.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Seen {
            connections: read(&self.counts.connections),
            broken: read(&self.counts.broken),
            requested: read(&self.counts.requested),
            answered: read(&self.counts.answered),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    socket(address)?.listen(BACKLOG)
}

/// What takes connections.
struct Door {
    server: SocketAddr,
    address: SocketAddr,
    told: watch::Receiver<Fault>,
    listening: watch::Sender<bool>,
    counts: Arc<Counts>,
}

impl Door {
    async fn keep(mut self, first: TcpListener) -> Infallible {
        let mut listener = Some(first);
        let mut carried = JoinSet::new();
        loop {
            let refuses = *self.told.borrow_and_update() == Fault::Refuse;
            if refuses {
                listener = None;
            } else if listener.is_none() {
                // The port is held, so this fails only for want of descriptors: the next change tries again.
                listener = listen(self.address).ok();
            }
            self.listening.send_replace(listener.is_some());
            tokio::select! {
                taken = taken(listener.as_ref()) => if let Ok((client, _)) = taken {
                    self.counts.connections.fetch_add(1, Ordering::Relaxed);
                    let (server, told) = (self.server, self.told.clone());
                    carried.spawn(carry(client, server, told, Arc::clone(&self.counts)));
                },
                changed = self.told.changed() => if changed.is_err() {
                    // Nobody can change anything any more: it is about to be dropped.
                    std::future::pending::<()>().await;
                },
                Some(_) = carried.join_next() => {}
            }
        }
    }
}

async fn taken(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// One connection, until it ends or breaks.
async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    told: watch::Receiver<Fault>,
    counts: Arc<Counts>,
) {
    let now = *told.borrow();
    let ended = match now {
        Fault::Reset | Fault::Refuse => Err(Break::Reset),
        _ => match TcpStream::connect(server).await {
            Ok(mut server) => between(&mut client, &mut server, &told, &counts).await,
            Err(_) => Err(Break::Gone),
        },
    };
    if let Err(Break::Reset) = ended {
        // What fails here is a connection that is gone already.
        drop(client.set_zero_linger());
    }
    if let Err(Break::Cut | Break::Reset) = ended {
        counts.broken.fetch_add(1, Ordering::Relaxed);
    }
}

async fn between(
    client: &mut TcpStream,
    server: &mut TcpStream,
    told: &watch::Receiver<Fault>,
    counts: &Counts,
) -> Result<(), Break> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (asks, hears) = client.split();
    let (answers, is_asked) = server.split();
    let mut there = Pump::new(Direction::Request, told, &counts.requested);
    let mut back = Pump::new(Direction::Answer, told, &counts.answered);
    tokio::try_join!(there.run(asks, is_asked), back.run(answers, hears))?;
    Ok(())
}

/// One direction of a connection.
struct Pump<'a> {
    direction: Direction,
    told: watch::Receiver<Fault>,
    count: &'a AtomicU64,
    /// What passed under the fault of the moment.
    passed: u64,
}

impl<'a> Pump<'a> {
    fn new(direction: Direction, told: &watch::Receiver<Fault>, count: &'a AtomicU64) -> Self {
        Self {
            direction,
            told: told.clone(),
            count,
            passed: 0,
        }
    }

    async fn run(
        &mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<(), Break> {
        let mut piece = vec![0; PIECE];
        loop {
            let fault = *self.told.borrow_and_update();
            let read = async {
                match fault {
                    Fault::Stall => std::future::pending().await,
                    _ => from.read(&mut piece).await,
                }
            };
            let read = tokio::select! {
                biased;
                fault = self.changed() => { self.is_struck(fault)?; continue }
                read = read => read?,
            };
            if read == 0 {
                to.shutdown().await?;
                return Ok(());
            }
            // The fault of the moment is told while the piece is on its way, too.
            tokio::select! {
                done = pass(fault, self.direction, &piece[..read], &mut to, self.passed) => {
                    let passed = done?;
                    self.passed += passed;
                    self.count.fetch_add(passed, Ordering::Relaxed);
                }
                broken = broken(self.told.clone()) => return Err(broken),
            }
        }
    }

    async fn changed(&mut self) -> Fault {
        // The sender outlives every connection.
        if self.told.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.passed = 0;
        *self.told.borrow()
    }

    fn is_struck(&self, fault: Fault) -> Result<(), Break> {
        match fault {
            Fault::Reset | Fault::Refuse => Err(Break::Reset),
            _ => Ok(()),
        }
    }
}

/// Returns once connections are reset.
async fn broken(mut told: watch::Receiver<Fault>) -> Break {
    let waited = told.wait_for(|it| matches!(it, Fault::Reset | Fault::Refuse));
    if waited.await.is_err() {
        std::future::pending::<()>().await;
    }
    Break::Reset
}

/// Hands on a piece as the fault lets it; how much of it.
async fn pass(
    fault: Fault,
    direction: Direction,
    piece: &[u8],
    to: &mut (impl AsyncWrite + Unpin),
    passed: u64,
) -> Result<u64, Break> {
    let cut = match (fault, direction) {
        (Fault::BlackHole, _) => return Ok(0),
        (Fault::Delay(late), _) => {
            tokio::time::sleep(late).await;
            None
        }
        (Fault::Throttle(rate), _) => {
            let grain = usize::try_from((rate / GRAINS).max(1)).unwrap_or(usize::MAX);
            for part in piece.chunks(grain) {
                tokio::time::sleep(Duration::from_millis(1000 / GRAINS)).await;
                to.write_all(part).await?;
            }
            return Ok(piece.len() as u64);
        }
        (Fault::CutRequest(at), Direction::Request) | (Fault::CutAnswer(at), Direction::Answer) => {
            Some(at.saturating_sub(passed))
        }
        _ => None,
    };
    let length = piece.len() as u64;
    match cut {
        Some(left) if left <= length => {
            let left = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            to.write_all(&piece[..left]).await?;
            to.flush().await?;
            Err(Break::Cut)
        }
        _ => {
            to.write_all(piece).await?;
            Ok(length)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Instant;

    use super::*;

    /// What must come within a moment, and whatever does not come within this moment.
    const SOON: Duration = Duration::from_secs(20);
    const SILENT: Duration = Duration::from_millis(50);

    /// Answers what it is told, until told no more.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    drop(tokio::io::copy(&mut reader, &mut writer).await);
                });
            }
        });
        address
    }

    /// What one connection hears of what it says, and how it ended where it did.
    async fn ask(stream: &mut TcpStream, said: &[u8]) -> (Vec<u8>, Option<ErrorKind>) {
        let mut heard = Vec::new();
        if let Err(error) = stream.write_all(said).await {
            return (heard, Some(error.kind()));
        }
        while heard.len() < said.len() {
            let mut piece = [0; 1024];
            match tokio::time::timeout(SOON, stream.read(&mut piece))
                .await
                .unwrap()
            {
                Ok(0) => return (heard, Some(ErrorKind::UnexpectedEof)),
                Ok(read) => heard.extend(&piece[..read]),
                Err(error) => return (heard, Some(error.kind())),
            }
        }
        (heard, None)
    }

    #[tokio::test]
    async fn each_fault_befalls_new_connections() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let reset = Some(ErrorKind::ConnectionReset);
        let ended = Some(ErrorKind::UnexpectedEof);
        for (fault, heard, end) in [
            (Fault::Pass, 10, None),
            (Fault::Delay(Duration::from_millis(20)), 10, None),
            (Fault::Throttle(500), 10, None),
            (Fault::CutRequest(4), 0, ended),
            (Fault::CutRequest(11), 10, None),
            (Fault::CutAnswer(4), 4, ended),
            (Fault::CutAnswer(0), 0, ended),
            (Fault::Reset, 0, reset),
            (Fault::Pass, 10, None),
        ] {
            proxy.set(fault).await;
            let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
            let began = Instant::now();
            let (told, how) = ask(&mut stream, b"0123456789").await;
            // A cut in the middle of a request leaves what arrived of it to be answered, or not.
            let told = if matches!(fault, Fault::CutRequest(4)) {
                0
            } else {
                told.len()
            };
            assert_eq!((told, how), (heard, end), "{fault:?}");
            if let Fault::Delay(late) = fault {
                assert!(began.elapsed() >= late * 2, "{:?}", began.elapsed());
            }
            if let Fault::Throttle(_) = fault {
                assert!(
                    began.elapsed() >= Duration::from_millis(20),
                    "{:?}",
                    began.elapsed()
                );
            }
        }
        let seen = proxy.seen();
        assert_eq!((seen.connections, seen.broken), (9, 4));
        assert_eq!(
            seen.requested,
            50 + 10 + 10,
            "whole requests only are counted"
        );
    }

    #[tokio::test]
    async fn silence_ends_when_it_is_told_to() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        for fault in [Fault::Stall, Fault::BlackHole] {
            let mut open = TcpStream::connect(proxy.address()).await.unwrap();
            assert_eq!(ask(&mut open, b"hello").await, (b"hello".to_vec(), None));
            proxy.set(fault).await;
            let mut new = TcpStream::connect(proxy.address()).await.unwrap();
            for stream in [&mut open, &mut new] {
                let silent = tokio::time::timeout(SILENT, ask(stream, b"and?"));
                assert!(silent.await.is_err(), "{fault:?}");
            }
            proxy.set(Fault::Pass).await;
            // What stalled goes on where it was; what was swallowed is gone.
            let (mut heard, mut word) = (Vec::new(), [0; 4]);
            let more: &[u8] = if fault == Fault::Stall { b"" } else { b"now?" };
            new.write_all(more).await.unwrap();
            let read = tokio::time::timeout(SOON, new.read_exact(&mut word));
            read.await.unwrap().unwrap();
            heard.extend(word);
            assert_eq!(heard, if more.is_empty() { b"and?" } else { b"now?" });
        }
    }

    #[tokio::test]
    async fn a_server_that_is_gone_is_there_again_at_the_same_place() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        for _ in 0..3 {
            let mut open = TcpStream::connect(proxy.address()).await.unwrap();
            assert_eq!(ask(&mut open, b"hello").await.1, None);
            proxy.set(Fault::Refuse).await;
            let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let (heard, end) = ask(&mut open, b"hello").await;
            assert!(heard.is_empty() && end.is_some(), "{heard:?}");
            proxy.set(Fault::Pass).await;
        }
        let mut open = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.set(Fault::Reset).await;
        let (_, end) = ask(&mut open, b"hello").await;
        assert!(end.is_some(), "what is open is reset, too");
    }
}
