//! Owns how a document gets what a command has found out: the text between two markers is replaced, the rest stays.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Replaces what stands between `<!-- name: begin -->` and `<!-- name: end -->`.
pub fn fill(document: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let old = fs::read_to_string(document).with_context(|| format!("cannot read {}", document.display()))?;
    let missing = |marker: &str| format!("{} has no {marker}", document.display());
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let (before, rest) = old.split_once(&begin).with_context(|| missing(&begin))?;
    let (_, after) = rest.split_once(&end).with_context(|| missing(&end))?;
    fs::write(document, format!("{before}{begin}\n\n{text}\n{end}{after}"))
        .with_context(|| format!("cannot write {}", document.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_filled_again_and_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let document = folder.path().join("document.md");
        fs::write(&document, "before\n<!-- x: begin -->\n<!-- x: end -->\nafter\n").expect("written");
        let filled = || {
            fill(&document, "x", "text\n").expect("filled");
            fs::read_to_string(&document).expect("a document")
        };
        let once = filled();
        assert_eq!(
            once,
            "before\n<!-- x: begin -->\n\ntext\n\n<!-- x: end -->\nafter\n"
        );
        assert_eq!(filled(), once);
        let error = fill(&document, "y", "").expect_err("there is no such place");
        assert!(error.to_string().contains("<!-- y: begin -->"), "{error}");
    }
}
