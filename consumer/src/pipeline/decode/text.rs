//! Owns JSON's escapes, once a string has been validated: from its text in the payload to the characters it means.

/// Appends what `raw`, a validated string between its quotes, means.
pub(in crate::pipeline) fn unescape(mut raw: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(b'\\', raw) {
        out.extend_from_slice(&raw[..at]);
        let letter = raw.get(at + 1).copied().unwrap_or(b'\\');
        let mut length = 2;
        match letter {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let mut code = hex4(raw, at + 2);
                length = 6;
                if (0xd800..0xdc00).contains(&code) {
                    code = 0x10000 + ((code - 0xd800) << 10) + (hex4(raw, at + 8) & 0x3ff);
                    length = 12;
                }
                let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            plain => out.push(plain),
        }
        raw = raw.get(at + length..).unwrap_or_default();
    }
    out.extend_from_slice(raw);
}

fn hex4(raw: &[u8], at: usize) -> u32 {
    raw.iter().skip(at).take(4).fold(0, |code, &byte| {
        code * 16 + char::from(byte).to_digit(16).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_escape_means_its_character() {
        let mut out = Vec::new();
        unescape(br#"a\"\\\/\b\f\n\r\t\u00e4\u20AC\ud83d\ude00z"#, &mut out);
        assert_eq!(out, "a\"\\/\u{8}\u{c}\n\r\t\u{e4}\u{20ac}\u{1f600}z".as_bytes());
    }
}
