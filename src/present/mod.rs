//! Plain values as people read them, wherever they do: a terminal, a pull request, a page.
//!
//! Owns the text and what may not stand in it (secrets, control characters). Never knows where it is
//! shown: no I/O, no colours' codes, no clock.

pub mod address;
pub mod diff;
pub mod request;
pub mod unlike;
