//! The queue of runs beside others: what is measured, and the cluster it is measured on.

pub mod ceiling;
pub mod cluster;
pub mod ours;
pub mod peers;
