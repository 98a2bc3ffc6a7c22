//! What the configuration lets through.
