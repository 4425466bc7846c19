//! The proxy as a whole, with real servers behind it.
