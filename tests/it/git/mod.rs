//! The git layer against real and in-memory servers.

mod contract;
mod faults;
mod mirrors;
mod signed;
mod site;
mod sshd;
