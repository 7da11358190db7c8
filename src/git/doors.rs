//! Where git servers are heard: frames, what they say in them, and the objects that come in packs.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use gix::ObjectId;

use super::mirror::unpack;
use super::object::{Commit, Kind, Object, Tag};
use super::remote::{Depth, FetchRequest, Filter, Received, RefUpdate};
use super::tree::Tree;
use super::wire::{Advertisement, Capabilities, Dialect, Packets, read_refs, read_report};
use super::{GitError, printable, signed};
use crate::doors::{Answer, Door, Knocked, alike, answered, harmless, ready};

const WIRE: &[&str] = &[
    "0000",
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "fff0",
    "fff1",
    "ffff",
    "000eversion 2\n",
    "000eversion 1\n",
    "# service=git-upload-pack\n",
    "ERR ",
    "NAK\n",
    "ACK ",
    "unpack ok\n",
    "ok refs/heads/main\n",
    "ng refs/heads/main no\n",
    "packfile\n",
    "shallow-info\n",
    "shallow ",
    "unshallow ",
    "unborn HEAD",
    " symref-target:refs/heads/main",
    " peeled:",
    "^{}",
    "refs/heads/",
    "refs/tags/v1.0.0",
    "capabilities^{}",
    "\0",
    " ",
    "report-status",
    "atomic",
    "side-band-64k",
    "object-format=sha256",
    "fetch=shallow filter",
    "\u{1}",
    "\u{2}",
    "\u{3}",
    "0000000000000000000000000000000000000000",
    "1111111111111111111111111111111111111111",
];
const OBJECTS: &[&str] = &[
    "tree ",
    "parent ",
    "author ",
    "committer ",
    "gpgsig ",
    "encoding ",
    "mergetag ",
    "object ",
    "type commit\n",
    "tag ",
    "tagger ",
    "\n\n",
    "\n ",
    " <",
    "> ",
    " 0 +0000",
    " 99999999999999999999 +9999",
    " -1 -0000",
    "100644 ",
    "40000 ",
    "120000 ",
    "160000 ",
    "177777 ",
    "\0",
    ".git",
    "..",
    "/",
    "1111111111111111111111111111111111111111",
    "-----BEGIN SSH SIGNATURE-----\n",
    "-----END SSH SIGNATURE-----\n",
    "\u{1b}[31m",
];
const PACKS: &[&str] = &[
    "PACK",
    "\0\0\0\u{2}",
    "\0\0\0\u{3}",
    "\0\0\0\0",
    "\u{7f}\u{7f}\u{7f}\u{7f}",
    "x\u{1c}",
];

pub(crate) const DOORS: &[Door] = &[
    Door {
        name: "git-advertisement",
        words: WIRE,
        knock: advertisement,
    },
    Door {
        name: "git-refs",
        words: WIRE,
        knock: refs,
    },
    Door {
        name: "git-fetch",
        words: WIRE,
        knock: fetch,
    },
    Door {
        name: "git-report",
        words: WIRE,
        knock: report,
    },
    Door {
        name: "git-objects",
        words: OBJECTS,
        knock: objects,
    },
    Door {
        name: "git-signature",
        words: OBJECTS,
        knock: signature,
    },
    Door {
        name: "git-pack",
        words: PACKS,
        knock: pack,
    },
    Door {
        name: "git-words",
        words: WIRE,
        knock: words,
    },
];

/// Far more than any of the corpus, so that a limit is never what is seen.
const BYTES: u64 = 64 << 20;

/// The frames, in pieces of that size.
fn packets(bytes: &[u8], piece: usize) -> Packets {
    let pieces: Vec<_> = bytes
        .chunks(piece)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    Packets::new(
        &Arc::from("https://git.example.com/a"),
        Box::pin(stream::iter(pieces)),
        BYTES,
    )
}

/// The same is read however it comes in pieces; what is said of it is fit to be shown.
fn however<T: std::fmt::Debug>(
    bytes: &[u8],
    mut read: impl FnMut(Packets) -> Result<Result<T, GitError>, String>,
) -> Knocked {
    let mut shown = |piece: usize| {
        let read = read(packets(bytes, piece))?;
        if let Err(error) = &read {
            harmless(&error.to_string())?;
        }
        Ok::<_, String>((answered(&read), format!("{read:?}")))
    };
    let whole = shown(bytes.len().max(1))?;
    alike("in pieces of seven bytes", &shown(7)?, &whole)?;
    Ok(whole.0)
}

/// What a server can do that says so in these words.
fn able(words: &str) -> Result<Capabilities, String> {
    let line = format!("{} capabilities^{{}}\0{words}", "0".repeat(40));
    let said = format!("{:04x}{line}0000", line.len() + 4);
    let mut packets = packets(said.as_bytes(), said.len());
    match ready(async { Advertisement::read(&mut packets, &[]).await })? {
        Ok(Advertisement::V0(capabilities, _)) => Ok(capabilities),
        other => Err(format!("these are the words of version 0: {other:?}")),
    }
}

fn prefixes() -> [String; 2] {
    ["refs/heads/", "refs/tags/"].map(str::to_owned)
}

fn advertisement(bytes: &[u8]) -> Knocked {
    however(bytes, |mut packets| {
        ready(async { Advertisement::read(&mut packets, &prefixes()).await })
    })
}

fn refs(bytes: &[u8]) -> Knocked {
    however(bytes, |mut packets| {
        let read = ready(async { read_refs(&mut packets, &prefixes()).await })?;
        let ours = |name: &String| prefixes().iter().any(|it| name.starts_with(it.as_str()));
        match read.as_ref().is_ok_and(|refs| !refs.keys().all(ours)) {
            true => Err(format!("a ref that was not asked for: {read:?}")),
            false => Ok(read),
        }
    })
}

/// A server's answer to a fetch: of version 2, and of version 0 with all it may be able to.
fn fetch(bytes: &[u8]) -> Knocked {
    let id = ObjectId::null(gix::hash::Kind::Sha1);
    let request = FetchRequest {
        wants: vec![id],
        haves: vec![id],
        shallow: Vec::new(),
        depth: Depth::Commits(3),
        filter: Filter::Trees,
        spool: None,
    };
    let v0 = Dialect::V0(able("side-band-64k shallow")?);
    for dialect in [Dialect::V2(Capabilities::default()), v0] {
        let answer = however(bytes, |mut packets| {
            let read = ready(async { dialect.read(&mut packets, &request).await })?;
            Ok(read.map(|fetched| (fetched.shallow, fetched.unshallow, length(fetched.objects))))
        })?;
        if answer == Answer::Taken {
            return Ok(answer);
        }
    }
    Ok(Answer::Refused)
}

/// How much of a pack came.
fn length(received: Received) -> Option<u64> {
    match received {
        Received::Pack(mut pack) => std::io::Seek::stream_position(&mut pack).ok(),
        Received::Objects(_) => None,
    }
}

fn report(bytes: &[u8]) -> Knocked {
    let mut answer = Answer::Refused;
    for words in ["side-band-64k", "report-status"] {
        let capabilities = able(words)?;
        let read = however(bytes, |mut packets| {
            let read = ready(async { read_report(&mut packets, &capabilities).await })?;
            if let Ok(report) = &read {
                harmless(&report.messages)?;
                judged(bytes, report)?;
            }
            Ok(read)
        })?;
        if read == Answer::Taken {
            answer = read;
        }
    }
    Ok(answer)
}

/// No push has landed of which the server did not say so in these words.
fn judged(bytes: &[u8], report: &super::PushReport) -> Result<(), String> {
    let update = RefUpdate {
        name: "refs/heads/main".to_owned(),
        old: None,
        new: Some(ObjectId::empty_blob(gix::hash::Kind::Sha1)),
    };
    let bands: Vec<u8> = frames(bytes)
        .filter_map(|frame| frame.strip_prefix(b"\x01"))
        .flatten()
        .copied()
        .collect();
    let says = |words: &[u8]| {
        let is = |frame: &[u8]| frame.trim_ascii() == words;
        frames(&bands).any(is) || frames(bytes).any(is)
    };
    let landed = report.is_ok(std::slice::from_ref(&update));
    match landed && !(says(b"unpack ok") && says(b"ok refs/heads/main")) {
        true => Err(format!("it has landed, by {report:?}")),
        false => Ok(()),
    }
}

/// The frames with something in them, as far as they are whole.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        loop {
            let (length, rest) = bytes.split_at_checked(4)?;
            let length = usize::from_str_radix(std::str::from_utf8(length).ok()?, 16).ok()?;
            let Some(length) = length.checked_sub(4) else {
                bytes = rest;
                continue;
            };
            let (frame, rest) = rest.split_at_checked(length)?;
            bytes = rest;
            return Some(frame);
        }
    })
}

/// The kind of an object as its first letter, then its bytes.
fn objects(bytes: &[u8]) -> Knocked {
    let (kind, data) = match bytes.split_first() {
        Some((b't', rest)) => (Kind::Tree, rest),
        Some((b'g', rest)) => (Kind::Tag, rest),
        Some((_, rest)) => (Kind::Commit, rest),
        None => return Ok(Answer::Refused),
    };
    let Ok(id) = gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, data) else {
        return Ok(Answer::Refused);
    };
    let object = Object {
        id,
        kind,
        data: Bytes::copy_from_slice(data),
    };
    let read = match kind {
        Kind::Tree => Tree::parse(&object).and_then(|tree| entries(&tree)),
        Kind::Tag => Tag::parse(&object).map(drop),
        _ => Commit::parse(&object).map(drop),
    };
    if let Err(error) = &read {
        harmless(&error.to_string())?;
    }
    Ok(answered(&read))
}

/// Every entry is found again under its name.
fn entries(tree: &Tree) -> Result<(), GitError> {
    let lost = |name: &[u8]| GitError::Malformed(printable(name));
    tree.entries().try_for_each(|entry| {
        let found = tree.get(entry.name);
        found
            .filter(|it| it.id == entry.id)
            .map(drop)
            .ok_or_else(|| lost(entry.name))
    })
}

/// A commit that may be signed.
fn signature(bytes: &[u8]) -> Knocked {
    let commit = Object {
        id: ObjectId::null(gix::hash::Kind::Sha1),
        kind: Kind::Commit,
        data: Bytes::copy_from_slice(bytes),
    };
    signed::signer(&String::from_utf8_lossy(bytes), "git", SIGNED);
    if signed::signer_of(&commit).is_none() {
        return Ok(Answer::Refused);
    }
    // Whoever has no key changes nothing of what was signed, not one byte.
    match signed::split(&commit.data) {
        Some((payload, _)) if payload == SIGNED => Ok(Answer::Taken),
        other => Err(format!("a commit that was changed is signed: {other:?}")),
    }
}

/// What is signed in the corpus.
const SIGNED: &[u8] = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@example.com> 0 +0000\ncommitter A <a@example.com> 0 +0000\n\nsigned, to the last byte\n";

/// The entries of a pack. Its checksum is made right, as an attacker would make it.
fn pack(bytes: &[u8]) -> Knocked {
    let body = &bytes[..bytes.len().saturating_sub(20)];
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(body);
    let Ok(checksum) = hasher.try_finalize() else {
        return Ok(Answer::Refused);
    };
    let mut file = tempfile::spooled_tempfile(bytes.len() + 1);
    let written = file
        .write_all(body)
        .and_then(|()| file.write_all(checksum.as_slice()));
    written.map_err(|error| error.to_string())?;
    let read = unpack(&mut file, BYTES, |_| None);
    for object in read.iter().flatten().flatten() {
        let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, object.kind, &object.data);
        alike("an object's id", &id.ok(), &Some(object.id))?;
    }
    if let Err(error) = &read {
        harmless(&error.to_string())?;
    }
    Ok(answered(&read))
}

fn words(bytes: &[u8]) -> Knocked {
    let shown = printable(bytes);
    harmless(&shown)?;
    match shown.len() <= 8 * super::MESSAGE_BYTES_MAX + 8 {
        true => Ok(Answer::Taken),
        false => Err(format!("{} bytes are shown", shown.len())),
    }
}
