//! Moving refs: the commands, and the server's report on each.
//!
//! Format: gitprotocol-pack(5), "Reference Update Request and Packfile Transfer" and "Report Status".

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use gix::ObjectId;

use super::packet::{Band, Bands, FLUSH, Packets, write};
use super::{AGENT, Capabilities};
use crate::git::remote::{PushReport, PushRequest};
use crate::git::{GitError, pack, printable};

/// A report takes a line per ref; this is far more than any.
const REPORT_BYTES_MAX: usize = 16 << 20;

/// The commands and the pack, or [`GitError::NotAtomic`] where the server cannot do what is asked.
pub(in crate::git) fn push_request(
    url: &str,
    capabilities: &Capabilities,
    request: &PushRequest,
) -> Result<Vec<u8>, GitError> {
    if request.atomic && !capabilities.has("atomic") {
        let url = url.to_owned();
        return Err(GitError::NotAtomic { url });
    }
    if !capabilities.has("report-status") {
        return Err(GitError::Protocol {
            url: url.to_owned(),
            detail:
                "it takes no push that it reports on (no report-status): may this credential push?"
                    .to_owned(),
        });
    }
    let mut options = vec!["report-status"];
    options.extend(
        ["side-band-64k", "object-format=sha1"]
            .into_iter()
            .filter(|option| capabilities.has(option.split('=').next().unwrap_or_default())),
    );
    if request.atomic {
        options.push("atomic");
    }
    options.push(AGENT);
    let mut options = format!("\0 {}", options.join(" "));
    let zero = ObjectId::null(gix::hash::Kind::Sha1);
    let mut out = Vec::new();
    for update in &request.updates {
        let (old, new) = (update.old.unwrap_or(zero), update.new.unwrap_or(zero));
        write(
            &mut out,
            format!("{old} {new} {}{options}", update.name).as_bytes(),
        );
        options.clear();
    }
    out.extend_from_slice(FLUSH);
    // Deleting needs no objects, and a server would wait in vain for a pack that it does not read.
    if request.updates.iter().any(|update| update.new.is_some()) {
        let objects = request
            .objects
            .iter()
            .map(|new| (&new.object, new.delta.as_ref()));
        out.extend(pack::encode(objects));
    }
    Ok(out)
}

/// The server's report. One that reports everything as done is not read beyond its end: what comes there
/// are words for people.
pub(in crate::git) async fn read_report(
    packets: &mut Packets,
    capabilities: &Capabilities,
) -> Result<PushReport, GitError> {
    if !capabilities.has("side-band-64k") {
        return parse(packets, String::new()).await;
    }
    let mut bands = Bands::default();
    let mut report = Vec::new();
    loop {
        match bands.next(packets).await? {
            Band::Data(data) if report.len() + data.len() > REPORT_BYTES_MAX => {
                return Err(packets.broken("its report is larger than any we take"));
            }
            Band::Data(data) => {
                report.extend_from_slice(&data);
                if is_whole(&report) {
                    let parsed = parse_whole(packets.url(), &report, bands.messages()).await?;
                    if parsed.is_clean() {
                        return Ok(parsed);
                    }
                }
            }
            Band::Message => {}
            Band::End => break,
        }
    }
    parse_whole(packets.url(), &report, bands.messages()).await
}

/// Whether its last frame is there.
fn is_whole(report: &[u8]) -> bool {
    let mut rest = report;
    while let Some((length, after)) = rest.split_at_checked(4) {
        let length = std::str::from_utf8(length).ok();
        match length.and_then(|length| usize::from_str_radix(length, 16).ok()) {
            Some(0) => return true,
            Some(length @ 4..) if length - 4 <= after.len() => rest = &after[length - 4..],
            _ => return false,
        }
    }
    false
}

async fn parse_whole(
    url: &Arc<str>,
    report: &[u8],
    messages: String,
) -> Result<PushReport, GitError> {
    let bytes = Box::pin(stream::iter([Ok(Bytes::copy_from_slice(report))]));
    let mut packets = Packets::new(url, bytes, REPORT_BYTES_MAX as u64);
    parse(&mut packets, messages).await
}

async fn parse(packets: &mut Packets, messages: String) -> Result<PushReport, GitError> {
    let mut report = PushReport {
        messages,
        ..PushReport::default()
    };
    let mut unpacked = false;
    while let Some(line) = packets.line().await? {
        let said = printable(&line);
        // A name that is not fit to be shown is no ref's that was asked for; nor is `ok` said in another way.
        if said.as_bytes() != line && !line.starts_with(b"ng ") && !line.starts_with(b"unpack ") {
            continue;
        }
        let (word, rest) = said.split_once(' ').unwrap_or((&said, ""));
        match word {
            "unpack" => {
                unpacked = true;
                report.unpack = (line != b"unpack ok"[..]).then(|| rest.to_owned());
            }
            "ok" => {
                report.refs.insert(rest.to_owned(), None);
            }
            "ng" => {
                let (name, reason) = rest.split_once(' ').unwrap_or((rest, "no reason given"));
                report.refs.insert(name.to_owned(), Some(reason.to_owned()));
            }
            // Lines of newer reports add to the one before; what was asked for is told by ok and ng.
            _ => {}
        }
    }
    match unpacked {
        true => Ok(report),
        false => Err(packets.broken("its report does not say whether it took the objects")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::{tests::packets, write_line};
    use super::*;
    use crate::git::RefUpdate;

    fn report(lines: &[&str]) -> Vec<u8> {
        let mut inner = Vec::new();
        lines.iter().for_each(|line| write_line(&mut inner, line));
        inner.extend_from_slice(FLUSH);
        let mut out = Vec::new();
        write(&mut out, b"\x02remote: hello\n");
        for piece in inner.chunks(5) {
            write(&mut out, &[b"\x01", piece].concat());
        }
        out.extend_from_slice(FLUSH);
        out
    }

    async fn capabilities() -> Capabilities {
        let mut bytes = Vec::new();
        let zero = "0".repeat(40);
        write(
            &mut bytes,
            format!("{zero} capabilities^{{}}\0report-status side-band-64k").as_bytes(),
        );
        bytes.extend_from_slice(FLUSH);
        match super::super::Advertisement::read(&mut packets(&bytes, 99), &[])
            .await
            .unwrap()
        {
            super::super::Advertisement::V0(capabilities, _) => capabilities,
            super::super::Advertisement::V2(_) => panic!("version 0"),
        }
    }

    fn update(name: &str) -> RefUpdate {
        let (old, new) = (None, Some(ObjectId::empty_blob(gix::hash::Kind::Sha1)));
        let name = name.to_owned();
        RefUpdate { name, old, new }
    }

    #[tokio::test]
    async fn a_report_is_read_ref_by_ref() {
        let capabilities = capabilities().await;
        let bytes = report(&["unpack ok", "ok refs/a", "ng refs/b not today"]);
        let read = read_report(&mut packets(&bytes, 6), &capabilities)
            .await
            .unwrap();
        assert_eq!(read.messages, "remote: hello");
        assert_eq!(read.refs["refs/b"].as_deref(), Some("not today"));
        assert!(read.is_ok(&[update("refs/a")]));
        assert!(!read.is_ok(&[update("refs/a"), update("refs/b")]));
        assert!(
            !read.is_ok(&[update("refs/a"), update("refs/c")]),
            "not reported is not done"
        );
        let bytes = report(&["unpack disk full", "ok refs/a"]);
        let read = read_report(&mut packets(&bytes, 6), &capabilities)
            .await
            .unwrap();
        assert!(!read.is_ok(&[update("refs/a")]));
    }

    #[tokio::test]
    async fn what_follows_a_clean_report_is_not_waited_for() {
        let capabilities = capabilities().await;
        let first = |lines: &[&str]| {
            let whole = report(lines);
            whole[..whole.len() - FLUSH.len()].to_vec()
        };
        let clean = first(&["unpack ok", "ok refs/a"]);
        let read = read_report(&mut packets(&clean, 6), &capabilities).await;
        assert!(read.unwrap().is_clean());
        // Where something failed, all words are for people.
        let mut failed = first(&["unpack ok", "ng refs/a no"]);
        write(&mut failed, b"\x02remote: ask Ann\n");
        assert!(
            read_report(&mut packets(&failed, 6), &capabilities)
                .await
                .is_err()
        );
        failed.extend_from_slice(FLUSH);
        let read = read_report(&mut packets(&failed, 6), &capabilities).await;
        assert_eq!(read.unwrap().messages, "remote: hello\nremote: ask Ann");
    }

    #[tokio::test]
    async fn hostile_reports_are_errors() {
        let capabilities = capabilities().await;
        for bytes in [
            &report(&["ok refs/a"])[..],
            b"0000",
            b"",
            b"0009\x03died",
            b"0009\x01zzzz0000",
            b"0006\x09x",
        ] {
            let read = read_report(&mut packets(bytes, 6), &capabilities).await;
            assert!(read.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_where_the_server_is_not_atomic() {
        let request = PushRequest {
            updates: vec![update("refs/a"), update("refs/b")],
            objects: vec![],
            atomic: true,
            ends: None,
        };
        let refused = push_request("test", &capabilities().await, &request);
        assert!(matches!(refused, Err(GitError::NotAtomic { .. })));
    }
}
