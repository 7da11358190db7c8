//! The git layer against real and in-memory servers.

mod contract;
mod site;
mod sshd;
