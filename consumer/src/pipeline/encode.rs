//! Owns encode.
