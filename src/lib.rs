//! Towpath tows a release from the tag that made it to the cluster that runs it.
//!
//! Read in this order: [`model`] holds the nouns; [`manifest`] reads and edits manifests;
//! [`plan`] decides, purely; [`observe`] reads the outside world into a `World`; [`act`] turns one
//! step into one effect; [`reconcile`] is the loop over the three. [`git`], [`registry`],
//! [`forge`] and [`cluster`] are the four outside systems. `cli` and `serve` sit on top.
//!
//! Arrows: `model ← manifest ← plan ← reconcile → observe, act → git, registry, forge, cluster`.

pub mod clock;
pub mod demo;
pub mod git;
pub mod model;
