//! Samples, and the tables they are printed in.

use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

/// What stands above [`Samples::row`].
pub(crate) const ROW: [&str; 5] = ["n", "p50, ms", "p95, ms", "max, ms", "min, ms"];

/// Times of the same work, done several times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
        self.0.sort();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The sample below which this share of them lies.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        self.0.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    /// The columns of [`ROW`].
    pub(crate) fn row(&self) -> Vec<String> {
        let quantiles = [0.5, 0.95, 1.0, 0.0].map(|share| milliseconds(self.quantile(share)));
        [vec![self.len().to_string()], quantiles.to_vec()].concat()
    }

    /// The median with minimum and maximum, in milliseconds.
    pub(crate) fn show(&self) -> String {
        if self.0.is_empty() {
            return "–".to_owned();
        }
        let [least, most] = [self.quantile(0.0), self.quantile(1.0)];
        format!(
            "{} ({}–{})",
            milliseconds(self.median()),
            milliseconds(least),
            milliseconds(most)
        )
    }

    /// How many times the other's median this one's is.
    pub(crate) fn ratio(&self, other: &Self) -> String {
        match other.median().as_secs_f64() {
            0.0 => "–".to_owned(),
            base => format!("{:.2} ×", self.median().as_secs_f64() / base),
        }
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(samples: I) -> Self {
        let mut samples: Vec<Duration> = samples.into_iter().collect();
        samples.sort();
        Self(samples)
    }
}

pub(crate) fn milliseconds(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1000.0;
    match milliseconds {
        it if it >= 100.0 => format!("{it:.0}"),
        it => format!("{it:.1}"),
    }
}

/// Says on stderr how far a part has come, now and then: some take minutes.
pub(crate) fn progress(part: &str, done: usize, of: usize) {
    let every = (of / 5).max(1);
    if done.is_multiple_of(every) || done == of {
        eprintln!("{part}: {done} of {of}");
    }
}

/// Prints a table below its title.
pub(crate) fn print(title: &str, header: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("\n{title}\n{table}");
}
