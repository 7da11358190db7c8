//! What a real cluster runs, as it is seen: what costs requests and what does not, what is told when.

mod access;
mod custom;
mod drifted;
mod hooks;
mod known;
mod others;
mod site;
mod told;
mod unreachable;
