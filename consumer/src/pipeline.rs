//! Wires the stages of an event's path, supervises them, shuts them down; the only file that knows them all.

pub mod decode; // payload → fields, in one pass
pub mod encode; // fields → the bytes of a COPY BINARY row
