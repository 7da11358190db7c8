//! Git's wire protocol, without a transport: what is said, and how answers are read.
//!
//! Formats: gitprotocol-common(5), gitprotocol-v2(5), gitprotocol-pack(5). Everything read is bounded;
//! nothing here opens a connection.

mod advertisement;
mod fetch;
mod packet;
mod push;

pub(super) use advertisement::{Advertisement, Capabilities, ls_refs, read_refs};
pub(super) use fetch::Dialect;
pub(super) use packet::{ByteStream, Packets};
pub(super) use push::{push_request, read_report};

/// How we introduce ourselves.
pub(super) const AGENT: &str = concat!("agent=towpath/", env!("CARGO_PKG_VERSION"));
