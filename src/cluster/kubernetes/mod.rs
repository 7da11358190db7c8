//! A Kubernetes cluster: what of an environment runs there, and making it run something else.

pub mod answer;
pub mod apply;
mod compare;
pub mod connect;
mod fields;
pub mod health;
pub mod kinds;
pub mod logs;
pub mod marks;
mod prune;
mod refusal;
mod request;
pub mod set;
