//! The simulated GitHub itself: cases that are files, with every request and answer checked against GitHub's
//! OpenAPI description; exchanges and webhooks that GitHub once recorded; and its webhooks and faults.

mod case;
mod faults;
mod hooks;
mod openapi;
mod recorded;
mod site;

pub(crate) use openapi::check as check_exchanges;
pub(crate) use site::{APP_KEY, Site};
