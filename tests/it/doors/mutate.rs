//! Bytes made of other bytes: the same from the same seed, on any machine. Half of what is done knows something of
//! the form: words that mean something there, lines, numbers, nesting, JSON.

use fastrand::Rng;
use serde_json::{Value, json};

/// No input is longer; what comes by the megabyte is cut off before it is read (`hostile.rs`).
const BYTES_MAX: usize = 64 << 10;

/// Bytes that stand at the edge of something.
const EDGES: &[u8] = b"\0\x01\x7f\x80\xbf\xc0\xed\xf4\xff\n\r\t \"'\\/{}[]():,;=&*!|>%@`#~-+.0<";

/// What is no UTF-8, and what turns text around, hides, or steers a terminal.
const TEXTS: [&[u8]; 12] = [
    b"\xff",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"\x1b[2J\x1b]0;evil\x07",
    "\u{202e}".as_bytes(),
    "\u{200b}".as_bytes(),
    "\u{feff}".as_bytes(),
    "\u{2028}".as_bytes(),
    "\u{9b}31m".as_bytes(),
    "e\u{301}\u{301}\u{301}".as_bytes(),
];

const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "127",
    "65536",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e999",
    "99999999999999999999999999999999",
];

/// What opens and what closes.
const PAIRS: [(&str, &str); 8] = [
    ("[", "]"),
    ("{\"a\":", "}"),
    ("(", ")"),
    ("{a: ", "}"),
    ("- ", ""),
    ("!(", ")"),
    ("? ", ""),
    ("a.", ""),
];

/// Makes inputs of a corpus.
pub(super) struct Mutator<'a> {
    pub(super) random: Rng,
    pub(super) words: &'a [&'a str],
    pub(super) corpus: &'a [Vec<u8>],
}

impl Mutator<'_> {
    /// Another input, of this one.
    pub(super) fn of(&mut self, input: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        let mut more = true;
        while more {
            self.change(&mut bytes);
            bytes.truncate(BYTES_MAX);
            more = self.random.u8(..3) > 0;
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        match self.random.u8(..20) {
            0 => self.flip(bytes),
            1 => {
                let edge = EDGES[self.random.usize(..EDGES.len())];
                self.put(bytes, &[edge], 1);
            }
            2 => {
                let text = TEXTS[self.random.usize(..TEXTS.len())];
                self.put(bytes, text, 0);
            }
            3 => drop(bytes.drain(self.range(bytes.len()))),
            4 => bytes.truncate(self.random.usize(..=bytes.len())),
            5 => self.repeat(bytes),
            6 => self.splice(bytes),
            7 => self.number(bytes),
            8 => self.nest(bytes),
            9 | 10 => self.line(bytes),
            11..14 => self.word(bytes, 0),
            14..16 => {
                let length = self.random.usize(..12);
                self.word(bytes, length);
            }
            _ => self.json(bytes),
        }
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        if let Some(at) = self.at(bytes.len()) {
            bytes[at] ^= 1 << self.random.u8(..8);
        }
    }

    /// Puts a piece in place of so many bytes.
    fn put(&mut self, bytes: &mut Vec<u8>, piece: &[u8], length: usize) {
        let at = self.random.usize(..=bytes.len());
        let end = (at + length).min(bytes.len());
        bytes.splice(at..end, piece.iter().copied());
    }

    fn word(&mut self, bytes: &mut Vec<u8>, length: usize) {
        if let Some(at) = self.at(self.words.len()) {
            self.put(bytes, self.words[at].as_bytes(), length);
        }
    }

    fn repeat(&mut self, bytes: &mut Vec<u8>) {
        let range = self.range(bytes.len());
        let times = [2, 3, 20, 300][self.random.usize(..4)];
        let piece = bytes[range.clone()].repeat(times);
        bytes.splice(range, piece);
    }

    /// The beginning of one, and the end of another.
    fn splice(&mut self, bytes: &mut Vec<u8>) {
        let other = &self.corpus[self.random.usize(..self.corpus.len())];
        let cut = self.random.usize(..=bytes.len());
        let from = self.random.usize(..=other.len());
        bytes.truncate(cut);
        bytes.extend_from_slice(&other[from..]);
    }

    /// A number, or all digits of a place, become another number.
    fn number(&mut self, bytes: &mut Vec<u8>) {
        let digits: Vec<usize> = (0..bytes.len())
            .filter(|at| bytes[*at].is_ascii_digit())
            .collect();
        let Some(index) = self.at(digits.len()) else {
            return;
        };
        let at = digits[index];
        let length = bytes[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let number = NUMBERS[self.random.usize(..NUMBERS.len())];
        bytes.splice(at..at + length, number.bytes());
    }

    fn nest(&mut self, bytes: &mut Vec<u8>) {
        let (open, close) = PAIRS[self.random.usize(..PAIRS.len())];
        let depth = [2, 30, 130, 3_000, 20_000][self.random.usize(..5)];
        let range = self.range(bytes.len());
        let within = bytes[range.clone()].to_vec();
        let nested = [
            open.repeat(depth).as_bytes(),
            &within,
            close.repeat(depth).as_bytes(),
        ]
        .concat();
        bytes.splice(range, nested);
    }

    /// Lines go, come twice, change places, or stand further in.
    fn line(&mut self, bytes: &mut Vec<u8>) {
        let mut lines: Vec<Vec<u8>> = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let (Some(one), Some(other)) = (self.at(lines.len()), self.at(lines.len())) else {
            return;
        };
        match self.random.u8(..5) {
            0 => drop(lines.remove(one)),
            1 => lines.insert(other, lines[one].clone()),
            2 => lines.swap(one, other),
            3 => lines[one].splice(..0, *b"  ").for_each(drop),
            _ => {
                let blank = lines[one].iter().take_while(|byte| **byte == b' ').count();
                lines[one].drain(..blank.min(2));
            }
        }
        *bytes = lines.concat();
    }

    /// A value within the first JSON text becomes another, goes, or comes twice.
    fn json(&mut self, bytes: &mut Vec<u8>) {
        let Some(start) = bytes.iter().position(|byte| matches!(byte, b'{' | b'[')) else {
            return;
        };
        let mut texts = serde_json::Deserializer::from_slice(&bytes[start..]).into_iter::<Value>();
        let Some(Ok(mut value)) = texts.next() else {
            return;
        };
        let end = start + texts.byte_offset();
        let mut places = Vec::new();
        places_of(&value, String::new(), &mut places);
        let place = places[self.random.usize(..places.len())].clone();
        let from = places[self.random.usize(..places.len())].clone();
        let moved = value.pointer(&from).cloned().unwrap_or_default();
        let new = match self.random.u8(..8) {
            0 => Value::Null,
            1 => json!({}),
            2 => json!([]),
            3 => json!(NUMBERS[self.random.usize(..NUMBERS.len())]),
            4 => {
                let number = NUMBERS[self.random.usize(..NUMBERS.len())];
                serde_json::from_str(number).unwrap_or(Value::Bool(true))
            }
            5 => {
                let text = TEXTS[5 + self.random.usize(..7)];
                Value::String(String::from_utf8_lossy(text).into_owned())
            }
            6 => Value::Array(vec![moved; 40]),
            _ => moved,
        };
        if let Some(at) = value.pointer_mut(&place) {
            *at = new;
        }
        bytes.splice(start..end, value.to_string().into_bytes());
    }

    fn at(&mut self, length: usize) -> Option<usize> {
        (length > 0).then(|| self.random.usize(..length))
    }

    /// A part, mostly a short one.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.random.usize(..=length);
        let most = match self.random.bool() {
            true => 16,
            false => length,
        };
        start..(start + self.random.usize(..=most)).min(length)
    }
}

fn places_of(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places_of(item, format!("{at}/{index}"), places);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                places_of(item, format!("{at}/{key}"), places);
            }
        }
        _ => {}
    }
    places.push(at);
}
