//! What `logs` measures with: lines as Odoo prints them, containers that print them, and a process that collects.

pub mod collecting;
pub mod container;
pub mod lines;
pub mod readers;
