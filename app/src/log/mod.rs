//! Log lines as people read them.
