//! Owns nothing but the way from standard input into a document: what a command has found out goes between the markers
//! that carry its name.

use std::io;
use std::path::Path;

use anyhow::bail;
use workbench::document;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [document, name] = &arguments[..] else {
        bail!("usage: fill DOCUMENT NAME <TEXT");
    };
    let text = io::read_to_string(io::stdin())?;
    if text.trim().is_empty() {
        bail!("there is nothing to fill in: {document} stays as it is");
    }
    document::fill(Path::new(document), name, text.trim_end())
}
