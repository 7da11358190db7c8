//! A Kubernetes cluster.

pub mod health;
