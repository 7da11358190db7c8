//! A Kubernetes cluster: what of an environment runs there, and making it run something else.

pub mod answer;
pub mod connect;
pub mod kinds;
pub mod marks;
