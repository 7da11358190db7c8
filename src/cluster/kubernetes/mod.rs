//! A Kubernetes cluster: what of an environment runs there, and making it run something else.

pub mod answer;
mod compare;
pub mod connect;
pub mod health;
pub mod kinds;
pub mod marks;
