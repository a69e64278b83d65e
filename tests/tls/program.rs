//! The program: how it starts, reloads by itself, logs, and what its client says.
