//! `towpath status --watch`: the same answer again and again, as the world moves.
//!
//! Level-triggered like everything else: each look is a whole one. What is looked at again, and how often, is what
//! the configuration says of polling; clusters are asked more often, which they answer from a watch.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::{Args, Form, Lookout, write};
use crate::cli::plain::Plain;
use crate::cli::setup::Setup;
use crate::cli::{exit, view};
use crate::clock;

/// How often the table is drawn anew on a terminal: ages are told in seconds.
const FRAME: Duration = Duration::from_secs(1);

/// How often clusters are asked.
const CLUSTERS: Duration = Duration::from_secs(2);

/// Clears the screen (ECMA-48, as are the next).
const CLEAR: &str = "\x1b[2J";

/// Goes to its top left.
const HOME: &str = "\x1b[H";

/// Ends a line of what was there before.
const END_OF_LINE: &str = "\x1b[K\n";

/// Clears what is below.
const BELOW: &str = "\x1b[J";

/// Shows it until Ctrl-C.
pub(super) async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let which = args.which();
    let now = clock::now();
    let lookout = Lookout::new(setup, which, &[], now)?;
    lookout.observatory.read_all(&lookout.pipelines, now).await;
    let mut turns = Turns::new(setup, now);
    let mut screen = Screen::new();
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let looked = lookout.looked(setup, which).await?;
        let units = args.shown(&looked);
        let mut text = Vec::new();
        // What only grows older is no news.
        let mut news = String::new();
        for (plan, unit) in &units {
            let (state, sentence) = (view::state(unit), view::sentence(unit));
            let unit = format!(
                "{} {} {state} {sentence}\n",
                plan.application, unit.environment
            );
            news.push_str(&unit);
        }
        let mut plain = Plain::new(&mut text);
        write(args, &looked, &units, clock::now(), &mut plain)?;
        plain.flush()?;
        drop(plain);
        screen.show(args, &text, news, out)?;
        tokio::select! {
            _ = &mut interrupted => return Ok(exit::OK),
            () = tokio::time::sleep(FRAME) => {}
        }
        tokio::select! {
            _ = &mut interrupted => return Ok(exit::OK),
            () = turns.take(&lookout, clock::now()) => {}
        }
    }
}

/// When which sources are looked at next.
struct Turns {
    git: Turn,
    registry: Turn,
    forge: Turn,
    cluster: Turn,
}

struct Turn {
    every: SignedDuration,
    last: Timestamp,
}

impl Turns {
    fn new(setup: &Setup, now: Timestamp) -> Self {
        let poll = &setup.config.settings.poll;
        let turn = |every: Duration| Turn {
            every: SignedDuration::try_from(every).unwrap_or(SignedDuration::MAX),
            last: now,
        };
        Self {
            git: turn(poll.git),
            registry: turn(poll.registry),
            forge: turn(poll.forge),
            cluster: turn(CLUSTERS),
        }
    }

    /// Looks at what is due.
    async fn take(&mut self, lookout: &Lookout, now: Timestamp) {
        let seen = &lookout.observatory;
        if self.git.is_due(now) {
            let infra = join_all(seen.infra.values().map(|it| it.read(now)));
            let sources = join_all(seen.histories.values().map(|it| it.read(now)));
            drop(tokio::join!(infra, sources));
        }
        if self.registry.is_due(now) {
            join_all(seen.tags.values().map(|it| it.read(now))).await;
        }
        if self.forge.is_due(now) {
            join_all(seen.requests.values().map(|it| it.read(now))).await;
        }
        if self.cluster.is_due(now) {
            join_all(seen.live.values().map(|it| it.read(now))).await;
        }
    }
}

impl Turn {
    fn is_due(&mut self, now: Timestamp) -> bool {
        let due = now.duration_since(self.last) >= self.every;
        if due {
            self.last = now;
        }
        due
    }
}

/// What is shown now.
struct Screen {
    is_terminal: bool,
    shown: Option<String>,
}

impl Screen {
    fn new() -> Self {
        let is_dumb = std::env::var("TERM").is_ok_and(|it| it == "dumb");
        Self {
            is_terminal: io::stdout().is_terminal() && !is_dumb,
            shown: None,
        }
    }

    fn show(&mut self, args: &Args, text: &[u8], news: String, out: &mut dyn Write) -> Result<()> {
        let text = String::from_utf8_lossy(text);
        let is_news = self.shown.as_ref() != Some(&news);
        let is_table = matches!(args.output, Form::Table | Form::Wide);
        if self.is_terminal && is_table {
            if self.shown.is_none() {
                write!(out, "{CLEAR}")?;
            }
            let drawn = text.replace('\n', END_OF_LINE);
            write!(out, "{HOME}{drawn}{BELOW}")?;
        } else if is_news {
            if self.shown.is_some() && is_table {
                writeln!(out)?;
            }
            if args.output == Form::Yaml {
                writeln!(out, "---")?;
            }
            write!(out, "{text}")?;
        }
        self.shown = Some(news);
        out.flush()?;
        Ok(())
    }
}
