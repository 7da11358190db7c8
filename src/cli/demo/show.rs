//! Shows the demo as it goes: a ladder that moves on a terminal, plain lines or JSON elsewhere.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::live::Live;
use super::page;
use crate::cli::Output;
use crate::clock;
use crate::demo::moment::Moment;
use crate::demo::reviewer::Page;
use crate::demo::timeline::since;
use crate::event::Event;

/// How often a countdown moves.
const TICK: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Show<'a> {
    form: Form,
    start: Timestamp,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

enum Form {
    Live(Box<Live>),
    Lines,
    Json,
    Yaml,
}

impl<'a> Show<'a> {
    /// Shows in this form; times count from `start`.
    pub(super) fn new(
        output: Output,
        start: Timestamp,
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
    ) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let form = match output {
            Output::Table if io::stdout().is_terminal() && !dumb => {
                Form::Live(Box::new(Live::begin(start)))
            }
            Output::Table => Form::Lines,
            Output::Json => Form::Json,
            Output::Yaml => Form::Yaml,
        };
        Self {
            form,
            start,
            out,
            err,
        }
    }

    /// Shows everything until there is nothing more to come.
    ///
    /// # Errors
    /// The writer's.
    pub(super) async fn all(&mut self, mut told: mpsc::Receiver<Moment>) -> io::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                moment = told.recv() => match moment {
                    Some(moment) => self.one(moment)?,
                    None => break,
                },
                _ = tick.tick() => if let Form::Live(live) = &mut self.form {
                    live.draw(clock::now());
                },
            }
        }
        if let Form::Live(live) = &mut self.form {
            live.end(self.out)?;
        }
        Ok(())
    }

    fn one(&mut self, moment: Moment) -> io::Result<()> {
        if let (Moment::Merge(command), Form::Lines | Form::Json | Form::Yaml) =
            (&moment, &self.form)
        {
            return writeln!(
                self.err,
                "merge the proposal with:\n  {}",
                command.join("\n  ")
            );
        }
        match (&mut self.form, moment) {
            (Form::Live(live), moment) => live.take(moment, clock::now()),
            (Form::Json, Moment::Event(event)) => {
                writeln!(self.out, "{}", event.to_json(self.start))?;
                self.out.flush()
            }
            (Form::Yaml, Moment::Event(event)) => {
                let text = serde_yaml::to_string(&event.to_json(self.start));
                write!(self.out, "---\n{}", text.map_err(io::Error::other)?)?;
                self.out.flush()
            }
            (Form::Json, Moment::Request(page)) => {
                writeln!(self.out, "{}", self.told(&page, clock::now()))?;
                self.out.flush()
            }
            (Form::Yaml, Moment::Request(page)) => {
                let text = serde_yaml::to_string(&self.told(&page, clock::now()));
                write!(self.out, "---\n{}", text.map_err(io::Error::other)?)?;
                self.out.flush()
            }
            (Form::Lines, Moment::Request(page)) => {
                for line in page::lines(&page) {
                    writeln!(self.out, "{line}")?;
                }
                self.out.flush()
            }
            (Form::Lines, Moment::Chapter(text)) => self.line(clock::now(), &format!("# {text}")),
            (Form::Lines, Moment::Done(text)) => self.line(clock::now(), &format!("✓ {text}\n")),
            (Form::Lines, Moment::Event(event)) => self.line(event.at, &in_words(&event)),
            (Form::Lines | Form::Json | Form::Yaml, _) => Ok(()),
        }
    }

    /// A pull request as an event.
    fn told(&self, page: &Page, at: Timestamp) -> serde_json::Value {
        serde_json::json!({
            "event": "pull-request",
            "at_ms": since(self.start, at),
            "request": page,
        })
    }

    fn line(&mut self, at: Timestamp, text: &str) -> io::Result<()> {
        let seconds = since(self.start, at) as f64 / 1000.0;
        writeln!(self.out, "{seconds:7.3}  {text}")?;
        self.out.flush()
    }
}

/// One line of what happened.
fn in_words(event: &Event) -> String {
    let environment = event
        .environment
        .as_ref()
        .map_or("", |environment| environment.as_str());
    let release = event
        .release
        .as_ref()
        .map_or("", |release| release.name.as_str());
    let number = event
        .number
        .map_or_else(String::new, |number| format!("#{number}"));
    let commit = event
        .commit
        .map_or_else(String::new, |commit| commit.short());
    let reason = event.reason.as_deref().unwrap_or_default();
    let kind = event.kind.name();
    let line = format!(
        "  {environment:<10}  {kind:<12}  {release:<15}  {number:<3}  {commit:<7}  {reason}"
    );
    line.trim_end().to_owned()
}
