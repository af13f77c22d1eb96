//! Events made from bytes, random or a fuzzer's: a field for each column of `cells::COLUMNS`, with the edges of its
//! type, whole and mutilated. The same bytes make the same event.

use super::cells::COLUMNS;

/// Takes choices from bytes; when they are used up, the first choice every time.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> usize {
        self.0.split_off_first().map_or(0, |byte| usize::from(*byte))
    }

    fn of<'b>(&mut self, words: &[&'b str]) -> &'b str {
        words[(self.byte() << 8 | self.byte()) % words.len()]
    }

    /// Digits, mostly few.
    fn digits(&mut self) -> String {
        let count = match self.byte() {
            few @ 0..200 => few % 6 + 1,
            more @ 200..250 => more % 40 + 1,
            _ => 400,
        };
        (0..count)
            .map(|_| char::from(b'0' + (self.byte() % 10) as u8))
            .collect()
    }
}

const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "1",
    "-1",
    "0.0",
    "-0.0",
    "7.0",
    "70e-1",
    "0.7e1",
    "1.5",
    "127",
    "128",
    "32767",
    "32768",
    "-32768",
    "-32769",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807.0",
    "922337203685477580700e-2",
    "9007199254740993",
    "16777217",
    "0.1",
    "1e22",
    "1e23",
    "1e-22",
    "1e-23",
    "1.7976931348623157e308",
    "1.7976931348623159e308",
    "1e308",
    "1e309",
    "5e-324",
    "2.4703282292062327e-324",
    "2.4703282292062328e-324",
    "3.4028234663852886e38",
    "3.4028235677973366e38",
    "3.4028236e38",
    "1.4e-45",
    "7e-46",
    "1e131071",
    "9e131071",
    "1e131072",
    "1e-16383",
    "1e-16384",
    "1.5e-16382",
    "0e131072",
    "0e-16384",
    "1e-400",
    "1e400",
    "1e999999999",
    "1e-999999999",
    "1e99999999999999999999",
    "0e99999999999999999999",
    "0.000000000000000000000001e24",
    "100000000000000000000000000000000000000e-38",
    "0.00000000000000000000000000000000000000000000000000001e53",
    "1735732800",
    "1735732800.25",
    "1735732800123",
    "1735732800123456",
    "1735732800123456789",
    "-62135596800",
    "99999999999",
    "100000000000",
    "99999999999999",
    "100000000000000",
    "99999999999999999",
    "100000000000000000",
    "-210866803200",
    "-210866803201",
    "-210866803200000000",
    "9224318015999999999999",
    "9224318016000000000000",
    "-210866803200000000000",
    "9999",
    "9999999999.999999",
    "12345.6789",
    "123456789012345678901234567890.123456789",
];

const STRINGS: &[&str] = &[
    "",
    "a",
    "abcde",
    "abcdef",
    "\u{e4}\u{f6}\u{fc}\u{df}\u{e9}",
    "\u{e4}\u{f6}\u{fc}\u{df}\u{e9}x",
    "\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}",
    "\u{10ffff}",
    "\u{fffe}\u{ffff}",
    "\u{feff}",
    "\u{7f}\u{80}\u{9f}",
    "\u{2028}\u{2029}",
    "a\u{301}",
    "\\u0000",
    "a\\u0000b",
    "\\u0001",
    "\\u001f",
    "\\\"",
    "\\\\",
    "\\\\u0000",
    "\\/",
    "\\b\\f\\n\\r\\t",
    "\\ud83d\\ude00",
    "\\uD83D\\uDE00x",
    "\\ud800",
    "\\udc00",
    "\\udc00\\ud800",
    "\\ud800\\ud800",
    "\\ud800x",
    "\\uffff",
    "\\u00e4",
    "\\u006e",
    "NaN",
    "Infinity",
    "-Infinity",
    "null",
    "true",
    "1",
    "1e5",
    "01234567-89ab-cdef-0123-456789abcdef",
    "0123456789ABCDEF0123456789abcdef",
    "{01234567-89ab-cdef-0123-456789abcdef}",
    "{0123456789abcdef0123456789abcdef}",
    "{01234567-89ab-cdef-0123-456789abcdef",
    "01234567-89ab-cdef-0123-456789abcdeg",
    "0123456789-ab-cdef-0123-456789abcdef",
    "2025-01-01",
    "2025-01-01T12:00:00",
    "2025-01-01 12:00:00.5+02:00",
    "2025-01-01T12:00:00.123456789Z",
    "2025-01-01t24:00:00z",
    "2024-12-31T23:59:59.9999995",
    "2016-12-31T23:59:60Z",
    "2016-12-31T23:59:60.999999",
    "0001-01-01",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999-23:59",
    "0000-01-01",
    "2025-02-29",
    "2024-02-29",
    "1900-02-29",
    "2000-02-29",
    "2025-01-01T12:00 +02",
    "2025-01-01T12:00:00,25-0230",
    "2025-01-01T12:00:00+24",
    "infinity",
    "-infinity",
    "epoch",
    "now",
    "today",
    "294276-12-31",
    "4713-01-01 BC",
    "2025-W01-1",
    "20250101",
    "2025\\u002d01-01",
];

const DOCUMENTS: &[&str] = &[
    "[]",
    "{}",
    "[[]]",
    "{\"\":{}}",
    "{\"a\":1,\"a\":2}",
    "{\"a\":{\"b\":[1,2.50,-0,1e5,1e-7]}}",
    "[NaN,Infinity,-Infinity]",
    "{\"NaN\":NaN,\"x\":\"NaN\"}",
    "[\"\\u0000\"]",
    "{\"\\u0000\":1}",
    "[\"\\ud83d\\ude00\"]",
    "[\"\\ud800\"]",
    "[ 1 ,\t2\n, 3 ]",
    "[1e131071]",
    "[-1e131072]",
    "{\"a\":[0e-16384]}",
    "[1E-16383]",
    "[0e99999999999999999999]",
    "{\"1e999999\":0e1000000000}",
    "[1e400]",
    "[9007199254740993]",
    "[0.1,0.10,0.100]",
    "[true,false,null]",
    "[\"\\\\\\\"\"]",
];

/// What may stand in any JSON place.
const BROKEN: &[&str] = &[
    "",
    "01",
    "+1",
    "1.",
    ".5",
    "1e",
    "-",
    "--1",
    "nul",
    "nan",
    "'a'",
    "[1,]",
    "{\"a\"}",
    "\"a",
    "\"\t\"",
    "[",
    "}",
    "\"\\x\"",
    "\"\\u12\"",
];

/// An event, mostly a valid one.
pub fn event(bytes: &[u8]) -> Vec<u8> {
    let mut choices = Choices(bytes);
    let mut fields = vec!["\"type\":\"t\"".to_owned()];
    // Some events have a field or two, so that what one column takes isn't hidden by what another one refuses; some have
    // nearly all.
    let density = [20, 40, 100, 230][choices.byte() % 4];
    for (name, _) in COLUMNS {
        let count = match choices.byte() {
            some if some >= density => 0,
            0 | 1 => 2,
            _ => 1,
        };
        for _ in 0..count {
            let value = value(name, &mut choices);
            let at = choices.byte() % (fields.len() + 1);
            fields.insert(at, format!("\"{name}\":{value}"));
        }
    }
    for _ in 0..choices.byte() % 3 {
        let (name, value) = (choices.of(STRINGS), value("j", &mut choices));
        fields.push(format!("\"{name}\":{value}"));
    }
    let mut payload = format!(
        "{{{}}}",
        fields.join(choices.of(&[",", ",", ", ", " ,\n\t", ","]))
    )
    .into_bytes();
    if choices.byte() > 250 && !payload.is_empty() {
        let at = (choices.byte() << 8 | choices.byte()) % payload.len();
        payload[at] = choices.byte() as u8;
    }
    payload
}

/// A value that suits the column by its name, or doesn't.
fn value(column: &str, choices: &mut Choices<'_>) -> String {
    let suits = match column {
        "f8" | "f4" | "i8" | "num" => 0,
        "i2" | "i4" => [0, 6][choices.byte() % 2],
        "u" | "vc" => [1, 7][choices.byte() % 2],
        "txt" => 1,
        "tz" | "ts" | "d" => choices.byte() % 2,
        "b" => 4,
        _ => choices.byte() % 3,
    };
    let other = choices.byte();
    match if other < 235 { suits } else { other % 8 } {
        6 => (choices.byte() as i8).to_string(),
        7 if column == "vc" => format!("\"{}\"", choices.byte()),
        7 => format!("\"{:08x}-{0:04x}-{0:04x}-{0:04x}-{0:012X}\"", choices.byte()),
        0 => match choices.byte() {
            0..150 => choices.of(NUMBERS).to_owned(),
            written => {
                let sign = if written % 2 == 0 { "-" } else { "" };
                let whole = choices.digits();
                let whole = whole.trim_start_matches('0');
                let fraction = if written % 3 == 0 {
                    format!(".{}", choices.digits())
                } else {
                    String::new()
                };
                let exponent = match written % 5 {
                    0 => format!("e{}", choices.byte() % 40),
                    1 => format!("E-{}", choices.byte() % 40),
                    _ => String::new(),
                };
                format!(
                    "{sign}{}{fraction}{exponent}",
                    if whole.is_empty() { "0" } else { whole }
                )
            }
        },
        1 => match choices.byte() {
            0..150 => format!("\"{}\"", choices.of(STRINGS)),
            150..200 => timestamp(choices),
            _ => format!("\"{}{}\"", choices.of(STRINGS), choices.of(STRINGS)),
        },
        2 => match choices.byte() {
            0..200 => choices.of(DOCUMENTS).to_owned(),
            deep => {
                let depth = (deep - 199) * 4;
                format!("{}{}", "[".repeat(depth), "]".repeat(depth))
            }
        },
        3 => choices.of(&["NaN", "Infinity", "-Infinity", "null"]).to_owned(),
        4 => choices.of(&["true", "false"]).to_owned(),
        _ if choices.byte() > 240 => choices.of(BROKEN).to_owned(),
        _ => "null".to_owned(),
    }
}

/// A date and a time, mostly valid ones.
fn timestamp(choices: &mut Choices<'_>) -> String {
    let year = choices.of(&["2025", "2024", "1999", "1970", "0001", "9999", "1582", "0000"]);
    let (month, day) = (choices.byte() % 14, choices.byte() % 33);
    let (hour, minute, second) = (choices.byte() % 26, choices.byte() % 61, choices.byte() % 62);
    let fraction = if choices.byte().is_multiple_of(2) {
        format!(".{}", choices.digits())
    } else {
        String::new()
    };
    let separator = choices.of(&["T", " ", "t"]);
    let zone = choices.of(&[
        "", "Z", "z", "+00:00", "-00", "+2359", "-23:59", " +01:30", "+14", "+1",
    ]);
    format!("\"{year}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}{fraction}{zone}\"")
}
