//! The parts that stand in for the outside world in `towpath demo` and in tests: never part of `run`.

pub mod git_server;
