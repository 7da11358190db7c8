//! The ladder on a terminal: a line per environment, redrawn in place, below the chapters so far.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use crate::demo::moment::{Moment, Rung, State};
use crate::demo::timeline::since;
use crate::event::{Event, EventKind};
use crate::model::EnvironmentName;

const SPIN: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Live {
    all: MultiProgress,
    chapter: ProgressBar,
    lines: Vec<ProgressBar>,
    rungs: Vec<Rung>,
    /// The last thing that happened in each environment.
    last: BTreeMap<EnvironmentName, String>,
    began: Timestamp,
    paint: Paint,
}

/// Colours, or none.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn apply(self, style: Style, text: &str) -> String {
        match self.0 {
            true => format!("{style}{text}{style:#}"),
            false => text.to_owned(),
        }
    }
}

impl Live {
    /// Takes the terminal's lower lines.
    pub(super) fn begin(start: Timestamp) -> Self {
        let choice = anstream::AutoStream::choice(&io::stdout());
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let spinner = ProgressStyle::with_template("  {spinner} {wide_msg}")
            .map(|style| style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
        let chapter = all.add(ProgressBar::new_spinner());
        if let Ok(spinner) = spinner {
            chapter.set_style(spinner);
        }
        chapter.enable_steady_tick(SPIN);
        Self {
            all,
            chapter,
            lines: Vec::new(),
            rungs: Vec::new(),
            last: BTreeMap::new(),
            began: start,
            paint: Paint(choice != anstream::ColorChoice::Never),
        }
    }

    /// Takes in what happened.
    pub(super) fn take(&mut self, moment: Moment, now: Timestamp) -> io::Result<()> {
        match moment {
            Moment::Chapter(text) => {
                self.began = now;
                self.chapter.set_message(text);
            }
            Moment::Done(text) => {
                let seconds = since(self.began, now) as f64 / 1000.0;
                let tick = self.paint.apply(AnsiColor::Green.on_default(), "✓");
                let took = self
                    .paint
                    .apply(Style::new().dimmed(), &format!("{seconds:6.1} s"));
                self.all.println(format!("  {tick} {text:<62}{took}"))?;
            }
            Moment::Event(event) => self.happened(&event),
            Moment::Ladder(rungs) => self.rungs = rungs,
            Moment::Request(page) => {
                for line in super::page::lines(&page) {
                    let line = match self.paint.0 {
                        true => line,
                        false => anstream::adapter::strip_str(&line).to_string(),
                    };
                    self.all.println(line)?;
                }
            }
            Moment::Merge(command) => {
                let bold = Style::new().bold();
                let ask = self.paint.apply(
                    bold,
                    "Your turn: merge the proposal, in another terminal, with",
                );
                self.all
                    .println(format!("\n  {ask}\n\n  {}\n", command.join("\n  ")))?;
            }
        }
        self.draw(now);
        Ok(())
    }

    fn happened(&mut self, event: &Event) {
        let Some(environment) = &event.environment else {
            return;
        };
        let text = match (event.kind, &event.reason) {
            (EventKind::Recorded, Some(tag)) => format!("recorded as {tag}"),
            (kind, _) => kind.name().to_owned(),
        };
        self.last.insert(environment.clone(), text);
    }

    /// Draws every line as it stands at this moment.
    pub(super) fn draw(&mut self, now: Timestamp) {
        if self.rungs.is_empty() {
            return;
        }
        let plain = ProgressStyle::with_template("{wide_msg}");
        while self.lines.len() < self.rungs.len() + 1 {
            let line = self.all.add(ProgressBar::new_spinner());
            if let Ok(plain) = &plain {
                line.set_style(plain.clone());
            }
            // The first one keeps the ladder apart from the chapter.
            line.set_message(" ");
            self.lines.push(line);
        }
        for (line, rung) in self.lines.iter().skip(1).zip(&self.rungs) {
            line.set_message(self.rung(rung, now));
        }
    }

    fn rung(&self, rung: &Rung, now: Timestamp) -> String {
        let (mark, color) = match rung.state {
            State::New => ("○", AnsiColor::White),
            State::RollingOut => ("◐", AnsiColor::Cyan),
            State::Healthy => ("●", AnsiColor::Green),
            State::Failed => ("●", AnsiColor::Red),
        };
        let color = color.on_default();
        let release = rung.release.as_deref().unwrap_or_default();
        let number = rung
            .number
            .map_or_else(String::new, |number| format!("#{number}"));
        let last = || {
            self.last
                .get(&rung.environment)
                .cloned()
                .unwrap_or_default()
        };
        let left = rung
            .until
            .map(|until| since(now, until).max(0) as f64 / 1000.0);
        let note = match left {
            Some(left) => format!("{}, {left:.1} s left", rung.note),
            None if rung.note.is_empty() => last(),
            None => rung.note.clone(),
        };
        format!(
            "  {} {:<10}  {release:<14}  {number:<3} {}  {}",
            self.paint.apply(color, mark),
            rung.environment,
            self.paint
                .apply(color, &format!("{:<11}", rung.state.name())),
            self.paint.apply(Style::new().dimmed(), &note),
        )
    }

    /// Leaves the ladder as it stands.
    pub(super) fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.chapter.finish_and_clear();
        self.all.clear()?;
        writeln!(out)?;
        for rung in &self.rungs {
            writeln!(out, "{}", self.rung(rung, Timestamp::MAX).trim_end())?;
        }
        Ok(())
    }
}
