//! A pull request on a terminal, as its reviewer reads it: the Markdown that Towpath writes, without its marks.
//!
//! Knows what `present/request` makes of Markdown and HTML, and no more; anything else stands as it is.

use anstyle::{AnsiColor, Style};

use crate::demo::reviewer::Page;

/// What stands left of all of it.
const INDENT: &str = "  │ ";

/// How wide a line may be.
const WIDTH: usize = 96;

/// The lines, with their colours.
pub(super) fn lines(page: &Page) -> Vec<String> {
    let bold = Style::new().bold();
    let green = AnsiColor::Green.on_default();
    let dim = Style::new().dimmed();
    let mut text = Text::default();
    text.put(bold, "", &format!("{} #{}", page.title, page.number));
    let (author, head, base) = (&page.author, &page.head, &page.base);
    let asked = format!("{}: {author} wants to merge {head} into {base}", page.state);
    text.put(Style::new(), "", &asked);
    text.put(dim, "", &page.url);
    for (what, names) in [("labels", &page.labels), ("reviewers", &page.reviewers)] {
        if !names.is_empty() {
            text.put(dim, "", &format!("{what}: {}", names.join(", ")));
        }
    }
    for check in &page.statuses {
        let (mark, style) = match check.state.as_str() {
            "success" => ("✓", green),
            "pending" => ("○", AnsiColor::Yellow.on_default()),
            _ => ("✗", AnsiColor::Red.on_default()),
        };
        let description = check.description.as_deref().unwrap_or_default();
        text.put(
            style,
            "",
            &format!("{mark} {}: {description}", check.context),
        );
    }
    match page.mergeable {
        true => text.put(green, "", &format!("✓ no conflicts with {base}")),
        false => text.put(
            AnsiColor::Red.on_default(),
            "",
            &format!("✗ conflicts with {base}"),
        ),
    }
    text.blank();
    body(&page.body, &mut text);
    text.end()
}

/// Lines that are put one below the other.
#[derive(Default)]
struct Text {
    lines: Vec<String>,
    /// Whether a blank line is due.
    blank: bool,
}

impl Text {
    /// One paragraph, broken where it is too wide; what follows stands below its text, not its mark.
    fn put(&mut self, style: Style, mark: &str, text: &str) {
        let below = " ".repeat(mark.chars().count());
        let room = WIDTH.saturating_sub(mark.chars().count());
        for (number, part) in broken(text, room).into_iter().enumerate() {
            let begin = if number == 0 { mark } else { &below };
            self.line(&format!("{style}{begin}{part}{style:#}"));
        }
    }

    /// One line as it is.
    fn line(&mut self, line: &str) {
        if std::mem::take(&mut self.blank) && !self.lines.is_empty() {
            self.lines.push(INDENT.trim_end().to_owned());
        }
        self.lines.push(format!("{INDENT}{line}"));
    }

    fn blank(&mut self) {
        self.blank = true;
    }

    fn end(mut self) -> Vec<String> {
        self.lines.insert(0, String::new());
        self.lines.push(String::new());
        self.lines
    }
}

fn body(markdown: &str, text: &mut Text) {
    let (plain, bold, dim) = (Style::new(), Style::new().bold(), Style::new().dimmed());
    let mut fence: Option<&str> = None;
    for line in markdown.lines() {
        let trimmed = line.trim();
        if let Some(open) = fence {
            match trimmed == open {
                true => fence = None,
                false => text.line(&code(line)),
            }
        } else if trimmed.starts_with("```") {
            let ticks = trimmed.len() - trimmed.trim_start_matches('`').len();
            fence = trimmed.get(..ticks);
        } else if trimmed.is_empty() {
            text.blank();
        } else if trimmed.starts_with("<!--") || trimmed == "</details>" {
            // Nobody sees these.
        } else if let Some(summary) = between(trimmed, "<details><summary>", "</summary>") {
            text.put(bold, "▾ ", &inline(summary));
        } else if let Some(small) = between(trimmed, "<sub>", "</sub>") {
            text.put(dim, "", &inline(small));
        } else if let Some(heading) = trimmed.strip_prefix("### ") {
            text.put(bold, "", &inline(heading));
        } else if trimmed == "> [!WARNING]" {
            text.put(AnsiColor::Yellow.on_default().bold(), "", "Warning");
        } else if let Some(item) = trimmed.strip_prefix("> - ") {
            text.put(AnsiColor::Yellow.on_default(), "! ", &inline(item));
        } else if let Some(item) = trimmed.strip_prefix("- ") {
            let depth = line.len() - line.trim_start().len();
            let mark = format!("{}• ", " ".repeat(depth));
            text.put(plain, &mark, &inline(item));
        } else {
            text.put(plain, "", &inline(trimmed));
        }
    }
}

/// A line of a difference.
fn code(line: &str) -> String {
    let style = match line.chars().next() {
        Some('+') => AnsiColor::Green.on_default(),
        Some('-') => AnsiColor::Red.on_default(),
        Some('@') => AnsiColor::Cyan.on_default(),
        _ => Style::new(),
    };
    format!("    {style}{line}{style:#}")
}

/// The text of a line: without the marks of code, weight and links.
fn inline(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '`' {
            let ticks = rest.len() - rest.trim_start_matches('`').len();
            let (fence, after) = rest.split_at(ticks);
            if let Some((inside, after)) = after.split_once(fence) {
                shown.push_str(inside);
                rest = after;
                continue;
            }
        }
        if let Some((name, address, after)) = link(rest) {
            shown.push_str(&inline(name));
            // What is nothing but a link tells where it leads.
            if rest.len() == text.len() && after.is_empty() {
                shown.push_str(&format!(" {address}"));
            }
            rest = after;
            continue;
        }
        let mark = ["**", "<code>", "</code>"];
        if let Some(mark) = mark.into_iter().find(|mark| rest.starts_with(mark)) {
            rest = &rest[mark.len()..];
            continue;
        }
        shown.push(c);
        rest = &rest[c.len_utf8()..];
    }
    // As `present/request` writes them; the ampersand last, for it stands in the others.
    for (written, meant) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&amp;", "&"),
    ] {
        shown = shown.replace(written, meant);
    }
    // What keeps names from acting on the forge acts on nothing here.
    shown.replace('\u{200b}', "")
}

/// `[name](address)` at the beginning, and what follows.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.strip_prefix('[')?.split_once("](")?;
    let (address, after) = rest.split_once(')')?;
    Some((name, address, after))
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    text.strip_prefix(begin)?.strip_suffix(end)
}

/// The text in lines that are no wider than that, broken at blanks; a longer word stays whole.
fn broken(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().filter(|line| {
            line.is_empty() || line.chars().count() + 1 + word.chars().count() <= room
        });
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "\
Mind the queue.

<!-- towpath:begin production/shop -->

Brings `shop` to `` production` ``, with <b>.

> [!WARNING]
> - `held by ann: @\u{200b}team & <x>`

- `shop` `v1` → `v2`
  - `sha256:1` → `sha256:2`

### Source

- [`1111111` → `2222222`](https://git.example.com/shop/compare/1...2)
- [`2222222`](https://git.example.com/shop/commit/2) `now (or [never](x)` by **Ada**

<details><summary><code>Deployment.apps shop/&lt;web&gt; &amp;lt;</code> changed: 1 image</summary>

````diff
@@ /spec @@
-  a: **1**
+```
````

</details>

<sub>Made on `3333333`.</sub>
";

    const SHOWN: &str = "
  │ production: shop v2 #7
  │ open: towpath wants to merge towpath/production/shop into master
  │ http://127.0.0.1:1/acme/infra/pull/7
  │ labels: deployment
  │ ✓ towpath/proven: v2 is proven in qa
  │ ✓ no conflicts with master
  │
  │ Mind the queue.
  │
  │ Brings shop to  production` , with <b>.
  │
  │ Warning
  │ ! held by ann: @team & <x>
  │
  │ • shop v1 → v2
  │   • sha256:1 → sha256:2
  │
  │ Source
  │
  │ • 1111111 → 2222222 https://git.example.com/shop/compare/1...2
  │ • 2222222 now (or [never](x) by Ada
  │
  │ ▾ Deployment.apps shop/<web> &lt; changed: 1 image
  │
  │     @@ /spec @@
  │     -  a: **1**
  │     +```
  │
  │ Made on 3333333.
";

    #[test]
    fn it_is_shown_as_a_reviewer_reads_it() {
        let text = |text: &str| text.to_owned();
        let page = Page {
            number: 7,
            url: text("http://127.0.0.1:1/acme/infra/pull/7"),
            state: text("open"),
            title: text("production: shop v2"),
            body: text(BODY),
            author: text("towpath"),
            head: text("towpath/production/shop"),
            commit: "3".repeat(40),
            base: text("master"),
            labels: vec![text("deployment")],
            reviewers: Vec::new(),
            mergeable: true,
            statuses: vec![crate::demo::reviewer::Check {
                context: text("towpath/proven"),
                state: text("success"),
                description: Some(text("v2 is proven in qa")),
            }],
        };
        let shown: Vec<String> = lines(&page)
            .iter()
            .map(|line| anstream::adapter::strip_str(line).to_string())
            .collect();
        assert_eq!(shown.join("\n"), SHOWN.trim_end().to_owned() + "\n");
    }

    #[test]
    fn long_lines_are_broken_below_their_text() {
        let mut text = Text::default();
        text.put(Style::new(), "• ", &"word ".repeat(30));
        let widest = text.lines.iter().map(|line| line.chars().count()).max();
        assert_eq!(text.lines.len(), 2);
        assert!(widest <= Some(WIDTH + INDENT.chars().count()), "{widest:?}");
        assert!(text.lines[1].starts_with("  │   word"), "{}", text.lines[1]);
    }
}
