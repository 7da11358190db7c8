//! Applying to a real API server: what is sent, what it refuses, what is taken, deleted and left alone.

mod ahead;
mod anew;
mod between;
mod judged;
mod killed;
mod owners;
mod plain;
mod prune;
mod races;
mod refused;
mod site;
mod staged;
mod two;
