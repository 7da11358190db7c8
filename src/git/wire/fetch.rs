//! Asking for objects: one request, one answer with a pack.
//!
//! Formats: gitprotocol-v2(5) "fetch"; gitprotocol-pack(5) "Packfile Negotiation" for version 0. We say
//! `done` at once: a mirror's newest commits are nearly always ancestors of what it wants, so more
//! rounds would cost more than they save.

use std::io::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use gix::ObjectId;
use tempfile::SpooledTempFile;

use super::AGENT;
use super::packet::{Band, Bands, DELIMITER, FLUSH, Packet, Packets, without_newline, write_line};
use super::{Advertisement, Capabilities};
use crate::git::GitError;
use crate::git::remote::{Depth, FetchRequest, Fetched, Filter, Received};

/// Packs up to this many bytes stay in memory while they arrive.
const MEMORY_BYTES_MAX: usize = 1 << 20;

/// How one server wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::git) enum Dialect {
    /// Version 2.
    V2(Capabilities),
    /// Version 0 or 1.
    V0(Capabilities),
}

impl From<Advertisement> for Dialect {
    fn from(advertisement: Advertisement) -> Self {
        match advertisement {
            Advertisement::V2(capabilities) => Self::V2(capabilities),
            Advertisement::V0(capabilities, _) => Self::V0(capabilities),
        }
    }
}

impl Dialect {
    /// The request's bytes.
    pub(in crate::git) fn request(&self, request: &FetchRequest) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::V2(capabilities) => {
                write_line(&mut out, "command=fetch");
                write_line(&mut out, AGENT);
                if capabilities.has("object-format") {
                    write_line(&mut out, "object-format=sha1");
                }
                out.extend_from_slice(DELIMITER);
                for option in ["thin-pack", "ofs-delta", "no-progress"] {
                    write_line(&mut out, option);
                }
                for id in &request.wants {
                    write_line(&mut out, &format!("want {id}"));
                }
                self.write_limits(&mut out, request);
                write_haves(&mut out, request);
                write_line(&mut out, "done");
                out.extend_from_slice(FLUSH);
            }
            Self::V0(capabilities) => {
                let known = [
                    "thin-pack",
                    "side-band-64k",
                    "ofs-delta",
                    "no-progress",
                    "shallow",
                    "filter",
                ];
                let mut options: Vec<&str> = known
                    .into_iter()
                    .filter(|name| capabilities.has(name))
                    .collect();
                options.push(AGENT);
                let mut options = format!(" {}", options.join(" "));
                for id in &request.wants {
                    write_line(&mut out, &format!("want {id}{options}"));
                    options.clear();
                }
                self.write_limits(&mut out, request);
                out.extend_from_slice(FLUSH);
                write_haves(&mut out, request);
                write_line(&mut out, "done");
            }
        }
        out
    }

    /// Our own boundary, the depth and what to leave out, as far as the server knows these.
    fn write_limits(&self, out: &mut Vec<u8>, request: &FetchRequest) {
        if self.has("shallow") {
            for id in &request.shallow {
                write_line(out, &format!("shallow {id}"));
            }
            if let Depth::Commits(depth) = request.depth {
                write_line(out, &format!("deepen {depth}"));
            }
        }
        if request.filter == Filter::Trees && self.has("filter") {
            write_line(out, "filter tree:0");
        }
    }

    fn has(&self, feature: &str) -> bool {
        match self {
            Self::V2(capabilities) => capabilities.has_feature("fetch", feature),
            Self::V0(capabilities) => capabilities.has(feature),
        }
    }

    /// Reads the answer to [`Self::request`].
    pub(in crate::git) async fn read(
        &self,
        packets: &mut Packets,
        request: &FetchRequest,
    ) -> Result<Fetched, GitError> {
        let mut fetched = Fetched {
            objects: Received::Objects(Vec::new()),
            shallow: Vec::new(),
            unshallow: Vec::new(),
        };
        match self {
            Self::V2(_) => read_sections(packets, &mut fetched).await?,
            Self::V0(_) => {
                if request.depth != Depth::Unlimited && self.has("shallow") {
                    while let Some(line) = packets.line().await? {
                        note_boundary(packets, &line, &mut fetched)?;
                    }
                }
            }
        }
        if matches!(self, Self::V0(capabilities) if !capabilities.has("side-band-64k")) {
            return Err(packets.broken("it has no side-band-64k"));
        }
        fetched.objects = Received::Pack(read_pack(packets, request.spool.as_ref()).await?);
        Ok(fetched)
    }
}

fn write_haves(out: &mut Vec<u8>, request: &FetchRequest) {
    for id in &request.haves {
        write_line(out, &format!("have {id}"));
    }
}

/// The sections before the pack.
async fn read_sections(packets: &mut Packets, fetched: &mut Fetched) -> Result<(), GitError> {
    loop {
        let Some(section) = packets.line().await? else {
            return Err(packets.broken("the answer holds no pack"));
        };
        match &section[..] {
            b"packfile" => return Ok(()),
            b"shallow-info" => {
                while let Some(line) = packets.line().await? {
                    note_boundary(packets, &line, fetched)?;
                }
            }
            // Sections we did not ask for are passed over.
            _ => while packets.line().await?.is_some() {},
        }
    }
}

fn note_boundary(packets: &Packets, line: &Bytes, fetched: &mut Fetched) -> Result<(), GitError> {
    let (list, id) = match (
        line.strip_prefix(b"shallow "),
        line.strip_prefix(b"unshallow "),
    ) {
        (Some(id), _) => (&mut fetched.shallow, id),
        (_, Some(id)) => (&mut fetched.unshallow, id),
        _ => return Err(packets.broken("a line of the boundary is none")),
    };
    let id = ObjectId::from_hex(id).map_err(|_| packets.broken("a boundary's id is none"))?;
    list.push(id);
    Ok(())
}

async fn read_pack(
    packets: &mut Packets,
    spool: Option<&PathBuf>,
) -> Result<SpooledTempFile, GitError> {
    let directory = spool.cloned().unwrap_or_else(std::env::temp_dir);
    let mut pack = tempfile::spooled_tempfile_in(MEMORY_BYTES_MAX, &directory);
    let mut bands = Bands::default();
    let mut begun = false;
    loop {
        let data = match packets.expect().await? {
            Packet::Data(data) => data,
            // Version 0 may end a list of acknowledgements before the pack.
            _ if !begun => continue,
            _ => return Ok(pack),
        };
        if !begun && is_acknowledgement(&data) {
            continue;
        }
        begun = true;
        match bands.split(packets, &data)? {
            Band::Data(data) => pack.write_all(&data).map_err(|source| GitError::Disk {
                directory: directory.clone(),
                source,
            })?,
            Band::Message | Band::End => {}
        }
    }
}

/// `ACK …` and `NAK` of version 0; a band's first byte is never a letter.
fn is_acknowledgement(data: &Bytes) -> bool {
    let line = without_newline(data.clone());
    line.starts_with(b"ACK ") || &line[..] == b"NAK"
}

#[cfg(test)]
mod tests {
    use super::super::packet::tests::packets;
    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";

    fn request() -> FetchRequest {
        let id = ObjectId::from_hex(A.as_bytes()).unwrap();
        FetchRequest {
            wants: vec![id],
            haves: vec![id],
            shallow: vec![id],
            depth: Depth::Commits(3),
            filter: Filter::Trees,
            spool: None,
        }
    }

    #[tokio::test]
    async fn a_server_is_asked_only_for_what_it_knows() {
        let plain = Dialect::V0(Capabilities::default()).request(&request());
        let text = String::from_utf8(plain).unwrap();
        assert!(
            !text.contains("deepen") && !text.contains("filter") && !text.contains("shallow"),
            "{text}"
        );
        assert!(
            text.contains(&format!("have {A}\n")) && text.ends_with("0009done\n"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn answers_without_a_pack_are_errors() {
        let v2 = Dialect::V2(Capabilities::default());
        let v0 = Dialect::V0(Capabilities::default());
        for (dialect, bytes) in [
            (&v2, &b"0000"[..]),
            (&v2, b"0011shallow-info\n000fshallow 12\n0001"),
            (&v2, b"000dpackfile\n"),
            (&v2, b"000dpackfile\n0006\x09x0000"),
            (&v2, b"000cERR no!\n"),
            (&v0, b"0008NAK\n"),
        ] {
            assert!(
                dialect
                    .read(&mut packets(bytes, 8), &request())
                    .await
                    .is_err(),
                "{bytes:?}"
            );
        }
    }
}
