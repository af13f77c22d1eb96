//! What the fuzz targets, the corpus test of `consumer` and the test of inputs on a real PostgreSQL share: another
//! reading of the same JSON, what each column type makes of it, and events made from random bytes. Each file is also
//! compiled into those tests, so that they need no fuzzer.

pub mod reading; // a payload by serde_json: what the decoder must see in it
pub mod cells; // a field in a column of each type: what the encoder must write
pub mod moments; // the same for timestamps
pub mod events; // random bytes → an event with the edges of every type
