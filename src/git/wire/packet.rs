//! Pkt-lines: the frames of git's protocol (gitprotocol-common(5), "pkt-line Format").

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::Fuse;
use futures_util::{Stream, StreamExt as _};

use crate::git::{GitError, MESSAGE_BYTES_MAX, printable};

/// Bytes as they come from a server; each item waits at most for the idle timeout.
pub(in crate::git) type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, GitError>> + Send>>;

/// The longest payload of one frame.
const PAYLOAD_MAX: usize = 65_516;

/// How long a complete answer may take to end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    Data(Bytes),
    Flush,
    Delimiter,
    ResponseEnd,
}

/// Frames read one by one from a stream that may be cut anywhere.
pub(in crate::git) struct Packets {
    url: Arc<str>,
    /// Asked again after its end, it has ended.
    stream: Fuse<ByteStream>,
    buffer: BytesMut,
    left: u64,
}

impl Packets {
    /// Reads at most `limit` bytes of the stream.
    pub(in crate::git) fn new(url: &Arc<str>, stream: ByteStream, limit: u64) -> Self {
        Self {
            url: Arc::clone(url),
            stream: stream.fuse(),
            buffer: BytesMut::new(),
            left: limit,
        }
    }

    /// Reads over what is left, so that the connection can be used again and the server ends its work in
    /// peace. A server that does not end soon is left.
    pub(in crate::git) async fn finish(mut self) {
        let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
        if tokio::time::timeout(FINISH_TIMEOUT, rest).await.is_err() {
            tracing::debug!(url = %self.url, "an answer that was complete did not end");
        }
    }

    pub(super) fn url(&self) -> &Arc<str> {
        &self.url
    }

    /// The next frame; nothing at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Packet>, GitError> {
        if !self.fill(4).await? {
            return match self.buffer.is_empty() {
                true => Ok(None),
                false => Err(self.cut()),
            };
        }
        let length = self.buffer.split_to(4);
        let length = std::str::from_utf8(&length)
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|text| usize::from_str_radix(text, 16).ok());
        match length {
            Some(0) => Ok(Some(Packet::Flush)),
            Some(1) => Ok(Some(Packet::Delimiter)),
            Some(2) => Ok(Some(Packet::ResponseEnd)),
            Some(length) if (4..=PAYLOAD_MAX + 4).contains(&length) => {
                if !self.fill(length - 4).await? {
                    return Err(self.cut());
                }
                Ok(Some(Packet::Data(
                    self.buffer.split_to(length - 4).freeze(),
                )))
            }
            _ => Err(self.broken("a frame has no valid length: is this a git server?")),
        }
    }

    /// The next frame where one must come. A server's `ERR` is its error.
    pub(super) async fn expect(&mut self) -> Result<Packet, GitError> {
        match self.next().await? {
            Some(Packet::Data(data)) if data.starts_with(b"ERR ") => Err(GitError::Server {
                url: self.url.to_string(),
                message: printable(&data[4..]),
            }),
            Some(packet) => Ok(packet),
            None => Err(self.cut()),
        }
    }

    /// The next line of text, without its end; nothing for any other frame.
    pub(super) async fn line(&mut self) -> Result<Option<Bytes>, GitError> {
        Ok(match self.expect().await? {
            Packet::Data(data) => Some(without_newline(data)),
            _ => None,
        })
    }

    pub(super) fn broken(&self, detail: impl Into<String>) -> GitError {
        GitError::Protocol {
            url: self.url.to_string(),
            detail: detail.into(),
        }
    }

    /// A connection that ended before the answer did.
    fn cut(&self) -> GitError {
        GitError::Network {
            url: self.url.to_string(),
            detail: "the answer ends too early".to_owned(),
        }
    }

    /// Reads until that many bytes are buffered; says whether they are.
    async fn fill(&mut self, count: usize) -> Result<bool, GitError> {
        while self.buffer.len() < count {
            let Some(chunk) = self.stream.next().await else {
                return Ok(false);
            };
            let chunk = chunk?;
            self.left = self
                .left
                .checked_sub(chunk.len() as u64)
                .ok_or_else(|| self.broken("the answer is larger than any we take"))?;
            self.buffer.extend_from_slice(&chunk);
        }
        Ok(true)
    }
}

pub(super) fn without_newline(data: Bytes) -> Bytes {
    match data.last() {
        Some(b'\n') => data.slice(..data.len() - 1),
        _ => data,
    }
}

/// Appends a frame.
pub(super) fn write(out: &mut Vec<u8>, payload: &[u8]) {
    debug_assert!(payload.len() <= PAYLOAD_MAX, "our own lines are short");
    out.extend_from_slice(format!("{:04x}", payload.len() + 4).as_bytes());
    out.extend_from_slice(payload);
}

/// Appends a line of text.
pub(super) fn write_line(out: &mut Vec<u8>, line: &str) {
    write(out, format!("{line}\n").as_bytes());
}

pub(super) const FLUSH: &[u8] = b"0000";
pub(super) const DELIMITER: &[u8] = b"0001";

/// What comes over the bands of a side-band frame.
pub(super) enum Band {
    /// Band 1.
    Data(Bytes),
    /// Band 2, already kept.
    Message,
    /// The end of the bands.
    End,
}

/// Splits bands, keeping a bounded amount of what the server writes for people.
#[derive(Default)]
pub(super) struct Bands {
    messages: Vec<u8>,
}

impl Bands {
    pub(super) async fn next(&mut self, packets: &mut Packets) -> Result<Band, GitError> {
        match packets.expect().await? {
            Packet::Data(data) => self.split(packets, &data),
            _ => Ok(Band::End),
        }
    }

    pub(super) fn split(&mut self, packets: &Packets, data: &Bytes) -> Result<Band, GitError> {
        match data.first() {
            Some(1) => Ok(Band::Data(data.slice(1..))),
            Some(2) => {
                let room = (MESSAGE_BYTES_MAX + 1).saturating_sub(self.messages.len());
                let text = &data[1..];
                self.messages
                    .extend_from_slice(&text[..text.len().min(room)]);
                Ok(Band::Message)
            }
            Some(3) => Err(GitError::Server {
                url: packets.url().to_string(),
                message: printable(&[&data[1..], b"\n", &self.messages].concat()),
            }),
            // An empty frame keeps a connection alive.
            None => Ok(Band::Message),
            Some(_) => Err(packets.broken("a side-band frame has an unknown band")),
        }
    }

    /// What the server wrote, fit to be shown.
    pub(super) fn messages(&self) -> String {
        printable(&self.messages)
    }
}

#[cfg(test)]
pub(in crate::git) mod tests {
    use futures_util::stream;

    use super::*;

    /// Frames from bytes that come in pieces of that size.
    pub(in crate::git) fn packets(bytes: &[u8], piece: usize) -> Packets {
        let pieces: Vec<_> = bytes
            .chunks(piece)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        Packets::new(&"test".into(), Box::pin(stream::iter(pieces)), 1 << 20)
    }

    /// As servers' answers come: such a stream may not be asked again once it has ended.
    #[tokio::test]
    async fn an_answer_that_ended_too_early_is_finished_in_peace() {
        let pieces = stream::unfold(Some(()), |left| async move {
            left.map(|()| (Ok(Bytes::from_static(b"0008ab")), None))
        });
        let mut packets = Packets::new(&"test".into(), Box::pin(pieces), 1 << 20);
        let error = packets.next().await.unwrap_err();
        assert!(matches!(error, GitError::Network { .. }), "{error}");
        packets.finish().await;
    }

    #[tokio::test]
    async fn frames_are_read_however_they_are_cut() {
        for piece in [1, 3, 4, 100] {
            let mut packets = packets(b"0006a\n0000000400010002", piece);
            let mut seen = Vec::new();
            while let Some(packet) = packets.next().await.unwrap() {
                seen.push(packet);
            }
            let data = |bytes: &'static [u8]| Packet::Data(Bytes::from_static(bytes));
            assert_eq!(
                seen,
                [
                    data(b"a\n"),
                    Packet::Flush,
                    data(b""),
                    Packet::Delimiter,
                    Packet::ResponseEnd
                ]
            );
        }
    }

    #[tokio::test]
    async fn hostile_frames_are_errors() {
        for bytes in [
            &b"0003"[..],
            b"fffff",
            b"<!DO",
            b"00",
            b"0010abc",
            b"+005a",
            b"\xff\xff\xff\xff",
            b"fff1",
        ] {
            assert!(packets(bytes, 4).next().await.is_err(), "{bytes:?}");
        }
        let mut large = Packets::new(
            &"test".into(),
            Box::pin(stream::repeat_with(|| Ok(Bytes::from_static(b"0005a")))),
            100,
        );
        let mut read = 0;
        while large.next().await.is_ok() {
            read += 1;
        }
        assert_eq!(read, 20);
    }

    #[tokio::test]
    async fn a_fatal_band_tells_what_was_said_before() {
        let mut packets = packets(b"000b\x02hint\n\n0009\x03died", 100);
        let mut bands = Bands::default();
        assert!(matches!(bands.next(&mut packets).await, Ok(Band::Message)));
        let error = bands.next(&mut packets).await.err().unwrap().to_string();
        assert_eq!(error, "test says: died\nhint");
    }
}
