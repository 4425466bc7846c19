//! The migrations are embedded at compile time: a new file in their folder must compile the crate again.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
