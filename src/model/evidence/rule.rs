//! The rules by which an environment asks for evidence: how they are written, and what they say of what was found.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use super::{EvidenceName, EvidenceResult, EvidenceSource, Finding, is_of_name};

/// What must have been found out about every image of a release before it comes to an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct EvidenceRule {
    /// What is asked for.
    pub asks: Asks,
    /// How old it may be; `None`: any age.
    pub max_age: Option<Duration>,
    /// Whose answer alone counts; `None`: what is recorded, and what is attached to the image.
    pub from: Option<EvidenceSource>,
}

/// Which evidence, and what must stand in it: `scan`, or `scan.critical == 0`.
#[derive(Debug, Clone, PartialEq)]
pub struct Asks {
    /// Of which name.
    pub name: EvidenceName,
    /// What one of its scores must be; `None`: the result must be `pass`.
    pub score: Option<ScoreTest>,
}

/// What a score must be.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreTest {
    /// Which score.
    pub field: EvidenceName,
    /// How it is compared.
    pub compare: Compare,
    /// With what.
    pub bound: f64,
}

/// How a score is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
    /// `>`
    Above,
    /// `<`
    Below,
}

/// Longer ones first: each is tried in turn.
const COMPARES: [(&str, Compare); 6] = [
    (">=", Compare::AtLeast),
    ("<=", Compare::AtMost),
    ("==", Compare::Equal),
    ("!=", Compare::Unequal),
    (">", Compare::Above),
    ("<", Compare::Below),
];

impl Compare {
    /// As it is written.
    fn as_str(self) -> &'static str {
        let mut known = COMPARES.iter();
        known
            .find(|(_, it)| *it == self)
            .map_or("", |(text, _)| text)
    }

    #[expect(
        clippy::float_cmp,
        reason = "both sides are decimals as people wrote them: the same text is the same number"
    )]
    fn holds(self, score: f64, bound: f64) -> bool {
        match self {
            Self::AtLeast => score >= bound,
            Self::AtMost => score <= bound,
            Self::Equal => score == bound,
            Self::Unequal => score != bound,
            Self::Above => score > bound,
            Self::Below => score < bound,
        }
    }
}

/// What a rule says of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighed {
    /// It holds.
    Holds,
    /// Nothing of that name was found.
    Missing,
    /// It does not hold.
    Failing,
    /// It held, and is too old.
    Stale,
    /// It is not known at this moment.
    Unknown,
}

impl Weighed {
    /// The word, stable for scripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Missing => "missing",
            Self::Failing => "failing",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Weighed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl EvidenceRule {
    /// What the rule says of a finding of its name at this moment.
    pub fn weigh(&self, found: Option<(&Finding, Timestamp)>, now: Timestamp) -> Weighed {
        let Some((finding, at)) = found else {
            return Weighed::Missing;
        };
        if !self.asks.holds(finding) {
            return Weighed::Failing;
        }
        match self.expires(at).is_some_and(|ends| ends <= now) {
            true => Weighed::Stale,
            false => Weighed::Holds,
        }
    }

    /// When what was found at that moment is too old.
    pub fn expires(&self, at: Timestamp) -> Option<Timestamp> {
        at.checked_add(self.max_age?).ok()
    }
}

impl Asks {
    fn holds(&self, finding: &Finding) -> bool {
        match &self.score {
            None => finding.result == EvidenceResult::Pass,
            Some(test) => {
                let score = finding.scores.get(&test.field);
                score.is_some_and(|score| test.compare.holds(*score, test.bound))
            }
        }
    }
}

/// As it is written.
impl fmt::Display for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        match &self.score {
            None => Ok(()),
            Some(test) => {
                let compare = test.compare.as_str();
                write!(f, ".{} {compare} {}", test.field, test.bound)
            }
        }
    }
}

/// A text that is no rule: what was expected, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{expected} is expected at character {at}")]
pub struct InvalidAsks {
    /// The character, from 1.
    pub at: usize,
    /// What is expected there.
    pub expected: &'static str,
}

/// `NAME`, or `NAME.SCORE OPERATOR NUMBER`.
impl FromStr for Asks {
    type Err = InvalidAsks;

    fn from_str(text: &str) -> Result<Self, InvalidAsks> {
        let mut parser = Parser { text, at: 0 };
        let name = parser.name("the name of evidence")?;
        let score = match parser.takes(".") {
            true => Some(parser.score()?),
            false => None,
        };
        match parser.rest().is_empty() {
            true => Ok(Self { name, score }),
            false if score.is_some() => Err(parser.wrong("the end of the rule")),
            false => Err(parser.wrong("`.` and a score, or the end of the rule,")),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
}

impl Parser<'_> {
    fn score(&mut self) -> Result<ScoreTest, InvalidAsks> {
        let field = self.name("the name of a score")?;
        self.blanks();
        let found = COMPARES.iter().find(|(text, _)| self.takes(text));
        let Some((_, compare)) = found else {
            return Err(self.wrong("one of `>=`, `<=`, `==`, `!=`, `>` and `<`"));
        };
        self.blanks();
        Ok(ScoreTest {
            field,
            compare: *compare,
            bound: self.number()?,
        })
    }

    fn name(&mut self, expected: &'static str) -> Result<EvidenceName, InvalidAsks> {
        let length = self.length_of(is_of_name);
        let name = self.rest()[..length].parse();
        let name = name.map_err(|_| self.wrong(expected))?;
        self.at += length;
        Ok(name)
    }

    /// A decimal number: `0`, `-1.5`.
    fn number(&mut self) -> Result<f64, InvalidAsks> {
        let length = self.length_of(|c| c.is_ascii_digit() || c == '.' || c == '-');
        let text = &self.rest()[..length];
        let edges = |c: char| c.is_ascii_digit();
        let is_decimal = text.starts_with(|c| edges(c) || c == '-') && text.ends_with(edges);
        let number = text.parse().ok().filter(|_| is_decimal);
        let number = number.ok_or_else(|| self.wrong("a number such as `0.9`"))?;
        self.at += length;
        Ok(number)
    }

    fn takes(&mut self, text: &str) -> bool {
        let takes = self.rest().starts_with(text);
        if takes {
            self.at += text.len();
        }
        takes
    }

    fn blanks(&mut self) {
        self.at += self.length_of(|c| c == ' ');
    }

    fn length_of(&self, is: impl Fn(char) -> bool) -> usize {
        let rest = self.rest();
        rest.find(|c| !is(c)).unwrap_or(rest.len())
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn wrong(&self, expected: &'static str) -> InvalidAsks {
        let at = self.text[..self.at].chars().count() + 1;
        InvalidAsks { at, expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_say_where_they_are_wrong() {
        for (text, read) in [
            ("scan", Ok("scan")),
            ("scan.critical == 0", Ok("scan.critical == 0")),
            (
                "lighthouse.performance>=0.90",
                Ok("lighthouse.performance >= 0.9"),
            ),
            ("a_B-9.x-1  !=  -1.5", Ok("a_B-9.x-1 != -1.5")),
            ("a.b < 1", Ok("a.b < 1")),
            ("", Err(1)),
            (" scan", Err(1)),
            ("scan ", Err(5)),
            ("größe", Err(3)),
            ("scan.", Err(6)),
            ("scan.critical", Err(14)),
            ("scan.critical = 0", Err(15)),
            ("scan.critical => 0", Err(15)),
            ("scan.critical ==", Err(17)),
            ("scan.critical == none", Err(18)),
            ("scan.critical == 0 or so", Err(19)),
            ("scan.critical == 1e9", Err(19)),
            ("scan.critical == .5", Err(18)),
            ("scan.critical == 5.", Err(18)),
            ("scan.critical == --5", Err(18)),
            ("scan.critical == 1.2.3", Err(18)),
            ("scan > 0", Err(5)),
        ] {
            let asks = text.parse::<Asks>();
            let shown = asks.map(|it| it.to_string()).map_err(|it| it.at);
            assert_eq!(shown, read.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn rules_weigh_what_was_found() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let finding = |result, score: Option<f64>| Finding {
            name: "scan".parse().unwrap(),
            result,
            scores: score
                .map(|it| ("high".parse().unwrap(), it))
                .into_iter()
                .collect(),
            link: None,
        };
        use EvidenceResult::{Fail, Pass};
        for (rule, found, weighed) in [
            ("scan", None, Weighed::Missing),
            ("scan", Some((Pass, None)), Weighed::Holds),
            ("scan", Some((Fail, None)), Weighed::Failing),
            ("scan.high <= 2", Some((Fail, Some(2.0))), Weighed::Holds),
            ("scan.high < 2", Some((Pass, Some(2.0))), Weighed::Failing),
            ("scan.high > 2", Some((Pass, Some(2.0))), Weighed::Failing),
            ("scan.high == 2", Some((Pass, Some(2.0))), Weighed::Holds),
            ("scan.high != 2", Some((Pass, Some(2.0))), Weighed::Failing),
            ("scan.high >= 0", Some((Pass, None)), Weighed::Failing),
            ("scan.high >= 2", Some((Pass, Some(2.0))), Weighed::Holds),
            ("scan.high >= 2", Some((Pass, Some(1.9))), Weighed::Failing),
        ] {
            let rule = EvidenceRule {
                asks: rule.parse().unwrap(),
                max_age: Some(Duration::from_secs(10)),
                from: None,
            };
            let found = found.map(|(result, score)| finding(result, score));
            let weigh = |now| rule.weigh(found.as_ref().map(|it| (it, at(5))), at(now));
            assert_eq!(weigh(14), weighed, "{}", rule.asks);
            let later = match weighed {
                Weighed::Holds => Weighed::Stale,
                other => other,
            };
            assert_eq!(weigh(15), later, "{}", rule.asks);
        }
    }
}
