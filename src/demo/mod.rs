//! Real servers in miniature for `towpath demo` and the tests. `run` never uses them.

pub mod git_server;
pub mod image;
pub mod registry;
