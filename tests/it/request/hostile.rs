//! Whatever others wrote, nothing of it acts in a request: read as forges read it, by a CommonMark
//! parser.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::json;
use towpath::present::request::{self, About, Outcome};

use super::values;

/// What stands in every text of the values that follow.
const WITNESS: &str = "evil";

/// Texts that would act where Markdown, HTML, our marks or plain text are read.
const HOSTILE: [&str; 24] = [
    "@evil/team",
    "(@evil)",
    "closes #13 evil",
    "Fixes: acme/evil#13",
    "resolves GH-13 evil",
    "fixed https://github.com/evil/evil/issues/13",
    "close https://gitlab.example.com/evil/-/merge_requests/13 !13",
    "[evil](https://evil.example.com)",
    "![evil](https://evil.example.com/x.png)",
    "<https://evil.example.com>",
    "<img src=x onerror=evil()>",
    "</code></summary></details><script>evil()</script>",
    "`evil` **evil** `",
    "``` evil",
    "`````` evil ``",
    "evil\n\n```\n\n# evil\n",
    "evil\r\n<!-- towpath:end -->\r\n@evil",
    "<!-- towpath:begin production/evil -->",
    "-- evil --> <!-- evil",
    "> [!CAUTION]\n> evil",
    "| evil | evil |\n|---|---|",
    "evil\\",
    "\u{202e}live\u{200b} evil &lt;b&gt; &#96;",
    "Co-authored-by: evil <evil@example.com>",
];

#[test]
fn nothing_that_others_wrote_acts() {
    for text in HOSTILE {
        for form in ["full", "fields", "none"] {
            let about = about(text, form);
            let body = request::body("", &about).unwrap();
            let mut short = about.clone();
            short.notices = vec!["x ".repeat(200); 30];
            let short = request::block(&short, 700).unwrap();
            for body in [body, short] {
                as_forges_read_it(text, &body);
                as_commit_messages_are_read(text, &body);
                assert_eq!(request::merge(&body, &body), None, "one block: {body}");
                let other = request::merge(&body, "ours").unwrap();
                assert_eq!(other, "ours", "one block, from begin to end: {body}");
            }
        }
    }
}

/// A value in every place that takes a text.
fn about(text: &str, form: &str) -> About {
    let object = |side: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "it", "namespace": text },
            "data": { text: side, "text": format!("a\n{text}\n{side}\n"), "value": format!("{side}{text}") },
        })
    };
    let mut about = values::about(&json!({
        "application": "shop", "environment": "production", "branch": text,
        "release": { "name": text, "commit": text, "images": { "registry.example.com/acme/shop": format!("{text} b") } },
        "instead-of": { "name": format!("{text} "), "images": { "registry.example.com/acme/shop": format!("{text} a") } },
        "built": { "b": { "revision": "1234567", "source": format!("https://example.com/{text}") }, "a": { "revision": text, "source": text } },
        "commits": { "count": 2, "newest": [{ "id": "3".repeat(40), "subject": text, "author": text }] },
        "notices": [text],
        "objects": [
            { "before": object("a"), "after": object("b"), "note": text },
            { "after": object("b") },
            { "before": object("a") },
        ],
        "diff": form,
        "beside": [text],
        "unlike": { "environment": "qa", "objects": [
            { "before": object("a"), "after": object("b") },
            { "after": object("b") },
            { "before": object("a") },
        ] },
        "proven": [{
            "environment": "qa", "number": 1, "tag": text, "repository": "https://example.com/infra",
            "healthy-at": "2026-11-20T10:00:00Z", "soak": 0, "smoke": [text],
        }],
        "evidence": [{
            "rule": text, "repository": "registry.example.com/acme/shop", "digest": "a", "name": "scan", "by": text,
            "at": "2026-11-20T10:00:00Z", "link": link(text),
        }],
        "base": "5".repeat(40),
        "runs": { "number": 1, "commit": "6".repeat(40), "standing": text },
    }));
    if let (Outcome::Tried(_), "none") = (&about.change, form) {
        about.change = Outcome::Unknown(text.to_owned());
    }
    about
}

/// An address that holds the text, and then one that a forge would act on.
fn link(text: &str) -> String {
    let mut link = url::Url::parse("https://example.com/issues/1").unwrap();
    link.set_query(Some(text));
    link.set_fragment(Some(text));
    link.path_segments_mut().unwrap().push(text);
    link.to_string()
}

/// What others wrote stands in code, in addresses of ours as encoded text, and nowhere else.
fn as_forges_read_it(given: &str, body: &str) {
    let mut code = false;
    for event in Parser::new_ext(body, Options::ENABLE_TABLES | Options::ENABLE_GFM) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => code = true,
            Event::End(TagEnd::CodeBlock) => code = false,
            Event::Text(text) if !code => {
                assert!(!text.contains(WITNESS), "{given:?} is text: {text}\n{body}");
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                let ours = [
                    "<details>",
                    "</details>",
                    "<summary>",
                    "</summary>",
                    "<sub>",
                    "</sub>",
                    "<code>",
                    "</code>",
                    "<!-- towpath:begin production/shop -->",
                    "<!-- towpath:end -->",
                ];
                let rest = ours
                    .iter()
                    .fold(html.to_string(), |html, tag| html.replace(tag, ""));
                assert!(
                    !rest.contains(['<', '>']),
                    "{given:?} is HTML: {html}\n{body}"
                );
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                let ours = dest_url.starts_with("https://example.com/");
                assert!(ours, "{given:?} is a link: {dest_url}\n{body}");
            }
            Event::Start(Tag::Image { .. } | Tag::Table(_)) => {
                panic!("{given:?} makes something of its own:\n{body}")
            }
            _ => {}
        }
    }
}

/// A squash merge makes a commit message of the body: there, no code span keeps anything from acting.
///
/// Addresses of ours are left out: what is within one is part of it.
fn as_commit_messages_are_read(given: &str, body: &str) {
    let mut pieces = body.split("](https://example.com/");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push_str(piece.split_once(')').unwrap().1);
    }
    let body = text.as_str();
    let chars: Vec<char> = body.chars().collect();
    for (at, c) in chars.iter().enumerate() {
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        let before = at.checked_sub(1).map_or(' ', |at| chars[at]);
        let acts = match c {
            '@' => !before.is_alphanumeric() && next.is_alphanumeric(),
            '#' => next.is_ascii_digit(),
            _ => false,
        };
        assert!(!acts, "{given:?} acts in {body}");
    }
    let lower = body.to_lowercase();
    for numbered in ["gh-", "issues/", "merge_requests/", "!"] {
        assert!(
            !lower.contains(&format!("{numbered}13")),
            "{given:?} acts in {body}"
        );
    }
    assert!(
        !body.lines().any(|line| line.starts_with("Co-authored-by")),
        "{given:?} is a trailer of {body}"
    );
}
