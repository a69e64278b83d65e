//! One blob from a registry to the store.
