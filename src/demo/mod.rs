//! Real servers in miniature for `towpath demo` and the tests, and the story that the demo plays
//! with them. `run` never uses them.

pub mod builds;
pub mod checkout;
pub mod example;
pub mod facts;
pub mod git_server;
pub mod github;
pub mod ground;
pub mod image;
pub mod judge;
pub mod lent;
pub mod manifests;
pub mod moment;
pub mod place;
pub mod registry;
pub mod reviewer;
pub mod rights;
pub mod site;
pub mod stage;
pub mod story;
pub mod timeline;
