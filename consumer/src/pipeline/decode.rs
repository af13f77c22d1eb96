//! Owns decode.
