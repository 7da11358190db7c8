//! Evidence: what was found out about an image outside of any cluster (a scan, a measurement, an acceptance
//! test), and the rules by which an environment asks for it.
//!
//! What a document and a rule mean is decided here, once; when anybody is asked is not.

mod check;
mod place;
mod rule;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::{Digest, PublicKey, is_over_http};
use crate::shown::given;

pub use check::{CheckEnd, CommitCheck, EvidenceCheck};
pub use place::{DIGEST, EvidenceEndpoint, EvidencePlace, EvidenceSource, Said};
pub use rule::{Asks, Compare, EvidenceRule, InvalidAsks, ScoreTest, Weighed};

/// So many scores of one finding are kept.
pub const SCORES_MAX: usize = 20;

/// Addresses are not longer than this, in bytes.
const LINK_MAX: usize = 2_000;

/// So many documents of one answer are read.
const DOCUMENTS_MAX: usize = 50;

/// Names are not longer than this.
const NAME_MAX: usize = 63;

/// The name of a kind of evidence, or of a score: letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EvidenceName(Arc<str>);

/// A text that cannot name evidence or a score.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name of evidence: use 1 to 63 letters, digits, `-` and `_`")]
pub struct InvalidEvidenceName(pub String);

impl EvidenceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EvidenceName {
    type Err = InvalidEvidenceName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=NAME_MAX).contains(&text.len()) && text.chars().all(is_of_name);
        match fits {
            true => Ok(Self(text.into())),
            false => Err(InvalidEvidenceName(given(text))),
        }
    }
}

impl fmt::Display for EvidenceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for EvidenceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// How it ended, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceResult {
    /// Well.
    Pass,
    /// Not well.
    Fail,
}

impl EvidenceResult {
    /// The word in records and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }
}

impl FromStr for EvidenceResult {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pass" => Ok(Self::Pass),
            "fail" => Ok(Self::Fail),
            other => Err(format!("`{other}` is no result: it is `pass` or `fail`")),
        }
    }
}

/// What was found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What was looked for, such as `lighthouse`.
    pub name: EvidenceName,
    /// How it ended.
    pub result: EvidenceResult,
    /// Numbers of it, such as `performance`. At most [`SCORES_MAX`], each finite.
    pub scores: BTreeMap<EvidenceName, f64>,
    /// Where people read more.
    pub link: Option<Url>,
}

/// The address that stands in evidence.
///
/// # Errors
/// That it is none that people can follow.
pub fn link(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| is_over_http(url) && url.password().is_none() && text.len() <= LINK_MAX);
    url.ok_or_else(|| {
        format!("`{text:.100}` is no address to be shown: it is https:// or http://, without a password, and of at most {LINK_MAX} bytes")
    })
}

/// What a document says that others give: a finding about an image, and when it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Attachment {
    /// What was found.
    pub finding: Finding,
    /// When, as the document says.
    pub at: Timestamp,
    /// Whose key signed the document; `None`: nobody's, or the signature is not true.
    pub signer: Option<PublicKey>,
}

#[derive(Deserialize)]
struct Document {
    digest: String,
    name: String,
    result: String,
    #[serde(default)]
    scores: BTreeMap<String, f64>,
    link: Option<String>,
    at: Timestamp,
}

impl Attachment {
    /// Reads what an endpoint answers: a document about this image, or a list of such.
    ///
    /// # Errors
    /// As [`Self::read`], of the first that is wrong.
    pub fn answered(answer: &[u8], image: &Digest) -> Result<Vec<Self>, &'static str> {
        let list: Result<Vec<&RawValue>, _> = serde_json::from_slice(answer);
        let documents = match &list {
            Ok(list) => list.iter().map(|it| it.get().as_bytes()).collect(),
            Err(_) => vec![answer],
        };
        if documents.len() > DOCUMENTS_MAX {
            return Err("it has more than 50 documents");
        }
        let documents = documents.into_iter();
        documents.map(|it| Self::read(it, image, None)).collect()
    }

    /// Reads a document about this image, in the form of `docs/evidence.md`.
    ///
    /// # Errors
    /// What is wrong with it, in words that tell nothing of what stands in it.
    pub fn read(
        document: &[u8],
        image: &Digest,
        signer: Option<PublicKey>,
    ) -> Result<Self, &'static str> {
        let document: Document =
            serde_json::from_slice(document).map_err(|_| "it is no document of evidence")?;
        // A signature is of the document alone: attached elsewhere, it would be of another image.
        if document.digest.parse() != Ok(*image) {
            return Err("its document is about another image");
        }
        if document.scores.len() > SCORES_MAX {
            return Err("it has more than 20 scores");
        }
        let name = |text: &str| text.parse().map_err(|_| "a name in it is none");
        let scores = document.scores.iter();
        let scores = scores.map(|(key, score)| Ok::<_, &'static str>((name(key)?, *score)));
        let link = document.link.as_deref().map(link).transpose();
        Ok(Self {
            finding: Finding {
                name: name(&document.name)?,
                result: document
                    .result
                    .parse()
                    .map_err(|_| "its result is neither `pass` nor `fail`")?,
                scores: scores.collect::<Result<_, _>>()?,
                link: link.map_err(|_| "its link is no address")?,
            },
            at: document.at,
            signer,
        })
    }
}

/// `pass, performance 0.93`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.result.as_str())?;
        let mut scores = self.scores.iter();
        scores.try_for_each(|(name, score)| write!(f, ", {name} {score}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_about_one_image() {
        let image = Digest::of(b"image");
        let document = format!(
            r#"{{"name":"scan","digest":"{image}","result":"pass","scores":{{"high":0}},"link":"https://ci.example.com/1","at":"2026-11-21T05:00:00Z","more":[]}}"#
        );
        let read =
            |document: &str, image: &Digest| Attachment::read(document.as_bytes(), image, None);
        let found = read(&document, &image).unwrap();
        assert_eq!(found.finding.to_string(), "pass, high 0");
        assert!(read(&document, &Digest::of(b"another")).is_err());
        for (part, other) in [
            ("\"pass\"", "\"good\""),
            ("scan", "a scan"),
            ("https", "javascript"),
            ("05:00:00Z", "05:00"),
            ("\"high\":0", "\"high\":null"),
            ("{", ""),
        ] {
            assert!(
                read(&document.replace(part, other), &image).is_err(),
                "{other}"
            );
        }
    }

    #[test]
    fn an_answer_is_one_document_or_a_list() {
        let image = Digest::of(b"image");
        let document = |scores: usize| {
            let scores: Vec<String> = (0..scores).map(|it| format!("\"s{it}\":1")).collect();
            let scores = scores.join(",");
            format!(
                r#"{{"name":"scan","digest":"{image}","result":"pass","scores":{{{scores}}},"at":"2026-11-21T05:00:00Z"}}"#
            )
        };
        let list = |many: usize| format!("[{}]", vec![document(0); many].join(","));
        for (answer, read) in [
            (document(0), Some(1)),
            (document(SCORES_MAX), Some(1)),
            (document(SCORES_MAX + 1), None),
            (list(0), Some(0)),
            (list(2), Some(2)),
            (list(DOCUMENTS_MAX), Some(DOCUMENTS_MAX)),
            (list(DOCUMENTS_MAX + 1), None),
        ] {
            let found = Attachment::answered(answer.as_bytes(), &image);
            assert_eq!(found.ok().map(|it| it.len()), read, "{answer:.200}");
        }
    }

    #[test]
    fn links_are_for_people() {
        let of_bytes = |bytes: usize| format!("{:a<bytes$}", "https://example.com/");
        let longest = of_bytes(LINK_MAX);
        for good in [
            "https://ci.example.com/1?a=b",
            "http://127.0.0.1/",
            &longest,
        ] {
            assert!(link(good).is_ok(), "{good}");
        }
        let long = of_bytes(LINK_MAX + 1);
        for bad in ["", "javascript:1", "https://a:b@example.com", "/1", &long] {
            assert!(link(bad).is_err(), "{bad}");
        }
    }
}
