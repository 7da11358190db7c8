//! Towpath tows a release from the tag that made it to the cluster that runs it.
//!
//! Read in this order: [`model`] holds the nouns; [`manifest`] reads and edits manifests;
//! [`plan`] decides, purely; [`observe`] reads the outside world into a `World`; [`act`] turns one
//! step into one effect; [`reconcile`] is the loop over the three. [`git`], [`registry`],
//! [`forge`] and [`cluster`] are the four outside systems. [`present`] writes what several places show;
//! `cli`, `serve`, [`notifications`] and [`marks`] sit on top.
//!
//! Arrows: `model ← manifest ← plan ← reconcile → observe, act → git, registry, forge, cluster`.

pub mod act;
mod backoff;
pub mod child;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod event;
pub mod evidence;
pub mod forge;
pub mod git;
pub mod http;
pub mod manifest;
pub mod marks;
pub mod model;
pub mod notifications;
pub mod observe;
pub mod plan;
pub mod present;
pub mod reconcile;
pub mod registry;
pub mod secret;
pub mod serve;
pub mod shown;
pub mod sim;
pub mod smoke;
