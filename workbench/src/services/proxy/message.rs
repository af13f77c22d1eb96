//! PostgreSQL's messages, as far as the proxy must know them: where each ends, and which ones its faults look for.

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The client's COMMIT.
    Commit,
    /// A piece of a COPY's rows, from the client.
    Rows,
    /// The server's answer to an UPDATE.
    Updated,
    /// The server's answer to COMMIT.
    Committed,
    /// Any other.
    Other,
}

impl Kind {
    pub(super) fn of(message: &[u8], from: Side, starting: bool) -> Self {
        if starting || message.len() < 5 {
            return Self::Other;
        }
        let body = &message[5..];
        match (from, message[0]) {
            (Side::Client, b'Q') if body == b"COMMIT\0" => Self::Commit,
            (Side::Client, b'd') => Self::Rows,
            (Side::Server, b'C') if body == b"COMMIT\0" => Self::Committed,
            (Side::Server, b'C') if body.starts_with(b"UPDATE ") => Self::Updated,
            _ => Self::Other,
        }
    }
}

/// How long the first message is, if all of it is there. The client's first one has no byte for its type.
pub(super) fn length(bytes: &[u8], starting: bool) -> Option<usize> {
    let kind = usize::from(!starting);
    let length: [u8; 4] = bytes.get(kind..kind + 4)?.try_into().ok()?;
    let length = kind + usize::try_from(u32::from_be_bytes(length)).ok()?.max(4);
    (bytes.len() >= length).then_some(length)
}

/// Whether a first message asks for TLS or for GSSAPI's encryption.
pub(super) fn is_plain_request(message: &[u8]) -> bool {
    const TLS: u32 = 80_877_103;
    const GSSAPI: u32 = 80_877_104;
    message.len() == 8
        && [TLS, GSSAPI]
            .iter()
            .any(|code| message[4..] == code.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_where_their_length_says() {
        let commit = b"Q\0\0\0\x0bCOMMIT\0Q";
        for bytes in 0..12 {
            assert_eq!(length(&commit[..bytes], false), None, "{bytes}");
        }
        assert_eq!(length(commit, false), Some(12));
        assert_eq!(length(b"\0\0\0\x08\x04\xd2\x16\x2f", true), Some(8));
    }

    #[test]
    fn messages_are_told_apart_by_type_side_and_words() {
        let commit = b"Q\0\0\0\x0bCOMMIT\0";
        let committed = b"C\0\0\0\x0bCOMMIT\0";
        assert_eq!(Kind::of(commit, Side::Client, false), Kind::Commit);
        assert_eq!(Kind::of(commit, Side::Server, false), Kind::Other);
        assert_eq!(Kind::of(committed, Side::Server, false), Kind::Committed);
        assert_eq!(
            Kind::of(b"C\0\0\0\x0dUPDATE 3\0", Side::Server, false),
            Kind::Updated
        );
        assert_eq!(Kind::of(b"d\0\0\0\x05x", Side::Client, false), Kind::Rows);
        assert_eq!(Kind::of(b"d\0\0\0\x05x", Side::Client, true), Kind::Other);
        assert!(is_plain_request(b"\0\0\0\x08\x04\xd2\x16\x2f"));
        assert!(!is_plain_request(b"\0\0\0\x09\0\x03\0\0\0"));
    }
}
