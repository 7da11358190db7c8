//! Bounds on hostile or broken input. Real manifests stay far below all of them.

/// Bytes in one file. A large operator's CRD bundle is about 5 MiB.
pub(super) const FILE_BYTES: usize = 16 << 20;

/// Levels of maps and lists, aliases expanded. Kubernetes' deepest CRD schemas have about 40.
pub(super) const DEPTH: usize = 100;

/// Values in one file, aliases expanded: what keeps an alias bomb small.
pub(super) const NODES: usize = 2_000_000;

/// Bytes of JSON in one object: what etcd takes in one request as Kubernetes sets it up
/// (`--max-request-bytes`). A dry run does not tell, for it stores nothing.
pub(super) const OBJECT_BYTES: usize = 3 << 19;

/// Bytes that an object takes while it is patched: its texts, and [`VALUE_BYTES`] for each value. Several times what
/// an object may have in the end.
pub(super) const PATCHED_BYTES: usize = 8 << 20;

/// What a value takes beside its text.
pub(super) const VALUE_BYTES: usize = 32;

/// Bytes of all values of a ConfigMap or a Secret, as the API server counts them.
pub(super) const CONFIG_BYTES: usize = 1 << 20;
