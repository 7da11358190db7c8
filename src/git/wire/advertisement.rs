//! What a server can do, and which refs it has.
//!
//! Formats: gitprotocol-v2(5) "Capability Advertisement" and "ls-refs"; gitprotocol-pack(5)
//! "Reference Discovery" for version 0.

use std::collections::BTreeMap;

use gix::ObjectId;

use super::AGENT;
use super::packet::{DELIMITER, FLUSH, Packet, Packets, without_newline, write_line};
use crate::git::{GitError, Ref, Refs, printable};

/// Refs taken from one server.
const REFS_MAX: usize = 2_000_000;

/// What a server says it can do: names, some with values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::git) struct Capabilities(BTreeMap<String, String>);

impl Capabilities {
    /// Whether it has that one.
    pub(in crate::git) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether that one's value names the feature.
    pub(super) fn has_feature(&self, name: &str, feature: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|value| value.split(' ').any(|word| word == feature))
    }

    fn insert(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Only sha1 ids can be read.
    fn check(self, packets: &Packets) -> Result<Self, GitError> {
        match self.0.get("object-format").map(String::as_str) {
            None | Some("sha1") => Ok(self),
            Some(format) => Err(GitError::ObjectFormat {
                url: packets.url().to_string(),
                format: printable(format.as_bytes()),
            }),
        }
    }
}

/// A server's first words.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::git) enum Advertisement {
    /// Version 2: only what it can do.
    V2(Capabilities),
    /// Version 0 or 1: what it can do and all refs, of which those under the prefixes are kept.
    V0(Capabilities, Refs),
}

impl Advertisement {
    /// Whether it takes several refs as one: only who is asked to receive says so.
    pub(in crate::git) fn is_atomic(&self) -> bool {
        let (Self::V2(capabilities) | Self::V0(capabilities, _)) = self;
        capabilities.has("atomic")
    }

    /// Reads the first words.
    pub(in crate::git) async fn read(
        packets: &mut Packets,
        prefixes: &[String],
    ) -> Result<Self, GitError> {
        let mut first = packets.expect().await?;
        // Smart HTTP says first which service this is.
        if matches!(&first, Packet::Data(data) if data.starts_with(b"# service=")) {
            if packets.expect().await? != Packet::Flush {
                return Err(packets.broken("no end after the service's name"));
            }
            first = packets.expect().await?;
        }
        let line = match first {
            Packet::Data(data) => without_newline(data),
            Packet::Flush => return Ok(Self::V0(Capabilities::default(), Refs::new())),
            _ => return Err(packets.broken("its first words are none")),
        };
        match &line[..] {
            b"version 2" => Ok(Self::V2(read_capabilities(packets).await?)),
            b"version 1" => {
                let line = packets.line().await?;
                read_v0(packets, line, prefixes).await
            }
            _ => read_v0(packets, Some(line), prefixes).await,
        }
    }
}

async fn read_capabilities(packets: &mut Packets) -> Result<Capabilities, GitError> {
    let mut capabilities = Capabilities::default();
    while let Some(line) = packets.line().await? {
        capabilities.insert(&line);
    }
    capabilities.check(packets)
}

async fn read_v0(
    packets: &mut Packets,
    first: Option<bytes::Bytes>,
    prefixes: &[String],
) -> Result<Advertisement, GitError> {
    let mut capabilities = Capabilities::default();
    let mut refs = Refs::new();
    let mut next = first;
    let mut is_first = true;
    let mut count = 0;
    while let Some(line) = next {
        let mut parts = line.splitn(2, |byte| *byte == 0);
        let shown = parts.next().unwrap_or_default();
        if let Some(words) = parts.next().filter(|_| is_first) {
            words
                .split(|byte| *byte == b' ')
                .filter(|word| !word.is_empty())
                .for_each(|word| capabilities.insert(word));
            // A sha256 server's first id would only look malformed: tell the cause.
            capabilities = capabilities.check(packets)?;
        }
        is_first = false;
        count += 1;
        if count > REFS_MAX {
            return Err(packets.broken("more refs than any we take"));
        }
        // A server that is shallow itself says so; it changes nothing for us.
        if !shown.starts_with(b"shallow ") {
            let (id, name) =
                parse_ref(shown).ok_or_else(|| packets.broken("a line that shows no ref"))?;
            keep(&mut refs, id, name, prefixes);
        }
        next = packets.line().await?;
    }
    Ok(Advertisement::V0(capabilities, refs))
}

/// Keeps a ref under the prefixes; a peeled line belongs to the tag before it.
fn keep(refs: &mut Refs, id: ObjectId, name: &str, prefixes: &[String]) {
    if name == "capabilities^{}" {
        return;
    }
    if let Some(tag) = name.strip_suffix("^{}") {
        if let Some(shown) = refs.get_mut(tag) {
            shown.peeled = Some(id);
        }
    } else if prefixes
        .iter()
        .any(|prefix| name.starts_with(prefix.as_str()))
    {
        refs.insert(name.to_owned(), Ref { id, peeled: None });
    }
}

/// `<id> <name>`. A name that is not UTF-8 is nobody's to ask for here.
fn parse_ref(line: &[u8]) -> Option<(ObjectId, &str)> {
    let (id, name) = (line.get(..40)?, line.get(40..)?.strip_prefix(b" ")?);
    let id = ObjectId::from_hex(id).ok()?;
    Some((id, std::str::from_utf8(name).unwrap_or_default()))
}

/// The request for the refs under these prefixes (version 2).
pub(in crate::git) fn ls_refs(capabilities: &Capabilities, prefixes: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    write_line(&mut out, "command=ls-refs");
    write_line(&mut out, AGENT);
    if capabilities.has("object-format") {
        write_line(&mut out, "object-format=sha1");
    }
    out.extend_from_slice(DELIMITER);
    write_line(&mut out, "peel");
    for prefix in prefixes {
        write_line(&mut out, &format!("ref-prefix {prefix}"));
    }
    out.extend_from_slice(FLUSH);
    out
}

/// The answer to [`ls_refs`]. A server may show more than was asked for.
pub(in crate::git) async fn read_refs(
    packets: &mut Packets,
    prefixes: &[String],
) -> Result<Refs, GitError> {
    let mut refs = Refs::new();
    let mut count = 0;
    while let Some(line) = packets.line().await? {
        count += 1;
        if count > REFS_MAX {
            return Err(packets.broken("more refs than any we take"));
        }
        let (shown, attributes) = match line.iter().skip(41).position(|byte| *byte == b' ') {
            Some(end) => (&line[..41 + end], &line[42 + end..]),
            None => (&line[..], &b""[..]),
        };
        // A branch that does not exist yet.
        if shown.starts_with(b"unborn ") {
            continue;
        }
        let (id, name) =
            parse_ref(shown).ok_or_else(|| packets.broken("a line that shows no ref"))?;
        keep(&mut refs, id, name, prefixes);
        let peeled = attributes
            .split(|byte| *byte == b' ')
            .find_map(|word| word.strip_prefix(b"peeled:"));
        if let (Some(peeled), Some(shown)) = (peeled, refs.get_mut(name)) {
            let id =
                ObjectId::from_hex(peeled).map_err(|_| packets.broken("a peeled id is none"))?;
            shown.peeled = Some(id);
        }
    }
    Ok(refs)
}

#[cfg(test)]
mod tests {
    use super::super::packet::{tests::packets, write};
    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";
    const B: &str = "2222222222222222222222222222222222222222";

    fn frames(lines: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            match *line {
                "" => out.extend_from_slice(FLUSH),
                line => write(&mut out, line.as_bytes()),
            }
        }
        out
    }

    fn all() -> Vec<String> {
        vec!["refs/".to_owned()]
    }

    fn id(hex: &str) -> ObjectId {
        ObjectId::from_hex(hex.as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn version_0_is_read_with_tags_peeled() {
        let bytes = frames(&[
            "# service=git-upload-pack\n",
            "",
            &format!("{A} HEAD\0atomic symref=HEAD:refs/heads/m object-format=sha1\n"),
            &format!("{A} refs/heads/m\n"),
            &format!("{B} refs/tags/v1\n"),
            &format!("{A} refs/tags/v1^{{}}\n"),
            "",
        ]);
        let Advertisement::V0(capabilities, refs) =
            Advertisement::read(&mut packets(&bytes, 7), &all())
                .await
                .unwrap()
        else {
            panic!("version 0");
        };
        assert!(capabilities.has("atomic") && !capabilities.has("filter"));
        assert_eq!(refs.len(), 2);
        assert_eq!(
            refs["refs/heads/m"],
            Ref {
                id: id(A),
                peeled: None
            }
        );
        assert_eq!(
            refs["refs/tags/v1"],
            Ref {
                id: id(B),
                peeled: Some(id(A))
            }
        );
    }

    #[tokio::test]
    async fn an_empty_repository_has_capabilities_and_no_refs() {
        let zero = "0".repeat(40);
        let bytes = frames(&[
            &format!("{zero} capabilities^{{}}\0report-status atomic\n"),
            "",
        ]);
        let read = Advertisement::read(&mut packets(&bytes, 9), &all())
            .await
            .unwrap();
        let Advertisement::V0(capabilities, refs) = read else {
            panic!("version 0");
        };
        assert!(capabilities.has("report-status") && refs.is_empty());
    }

    #[tokio::test]
    async fn version_2_is_read() {
        let bytes = frames(&[
            "version 2\n",
            "fetch=shallow filter\n",
            "ls-refs=unborn\n",
            "",
        ]);
        let Advertisement::V2(capabilities) = Advertisement::read(&mut packets(&bytes, 5), &all())
            .await
            .unwrap()
        else {
            panic!("version 2");
        };
        assert!(
            capabilities.has_feature("fetch", "filter")
                && !capabilities.has_feature("fetch", "filt")
        );
        let bytes = frames(&[
            &format!("{A} refs/heads/m symref-target:refs/x\n"),
            &format!("{B} refs/tags/v1 peeled:{A}\n"),
            "unborn refs/heads/none symref-target:refs/heads/none\n",
            "",
        ]);
        let refs = read_refs(&mut packets(&bytes, 11), &all()).await.unwrap();
        assert_eq!(refs["refs/tags/v1"].peeled, Some(id(A)));
        assert_eq!(refs.len(), 2);
    }

    #[tokio::test]
    async fn hostile_advertisements_are_errors() {
        let sha256 = "3".repeat(64);
        for lines in [
            &["ERR \x1b[31mno\n"][..],
            &["version 2\n", "object-format=sha256\n", ""],
            &[
                &format!("{sha256} refs/heads/m\0object-format=sha256\n"),
                "",
            ],
            &["nonsense\n", ""],
            &[&format!("{A}refs/heads/m\n"), ""],
            &[&format!("{A} refs/heads/m\n")],
            &["version 1\n"],
        ] {
            let bytes = frames(lines);
            let error = Advertisement::read(&mut packets(&bytes, 64), &all())
                .await
                .unwrap_err();
            assert!(!error.to_string().contains('\x1b'), "{error}");
        }
        let bytes = [&b"0030"[..], A.as_bytes(), b" \xff\xfe\n", b"0000"].concat();
        assert!(
            read_refs(&mut packets(&bytes, 64), &all())
                .await
                .unwrap()
                .is_empty()
        );
    }
}
