//! What requests say.
//!
//! `fixtures/present/request/*.yaml` hold what a request is about, and `*.md` beside them its title and
//! body; `merged.txt` what becomes of bodies that people edited. `TOWPATH_UPDATE=1` records them anew.

mod hostile;
mod values;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use towpath::model::TitleTemplate;
use towpath::present::request::{self, BLOCK_MAX, BODY_MAX};

use crate::cli::compare;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/present/request")
}

#[test]
fn requests_say_what_was_recorded() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "yaml") {
            continue;
        }
        let given = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let (about, template) = (values::about(&given), values::template(&given));
        let title = request::title(&about, &template);
        let body = request::body("", &about).unwrap();
        assert!(!body.contains("aHVudGVy") && !body.contains("dG9rZW4"));
        assert_eq!(request::body(&body, &about), None, "nothing changes");
        let now = format!("{title}\n\n{body}\n");
        wrong.extend(compare(&path.with_extension("md"), &now));
        count += 1;
    }
    assert!(count > 0, "there are no cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_people_wrote_stays() {
    let path = folder().join("merged.txt");
    let text = fs::read_to_string(&path).unwrap();
    let (title, cases) = text.split_once("\n\n").unwrap();
    let mut now = format!("{title}\n\n");
    let mut count = 0;
    for case in cases.split("# end\n").filter(|case| !case.is_empty()) {
        let (given, _) = case.split_once("# becomes\n").unwrap();
        let (body, ours) = given.split_once("# ours\n").unwrap();
        let body = body.strip_prefix("# body\n").unwrap();
        let (body, ours) = (body.trim_end(), ours.trim_end());
        let becomes = request::merge(body, ours);
        if let Some(becomes) = &becomes {
            assert_eq!(request::merge(becomes, ours), None, "{becomes}");
            let edited = becomes.replace('\n', "\r\n");
            assert_eq!(request::merge(&edited, ours), None, "a forge's editor");
        }
        let becomes = becomes.map_or_else(String::new, |it| it + "\n");
        writeln!(now, "{given}# becomes\n{becomes}# end").unwrap();
        count += 1;
    }
    assert!(count > 0, "there are no cases");
    assert_eq!(compare(&path, &now), None);
}

/// However much there is to say and however little room, a block is whole Markdown and fits.
#[test]
fn a_block_fits_its_room() {
    let about = values::large();
    let whole = request::block(&about, usize::MAX).unwrap();
    assert!(whole.len() > BODY_MAX, "there is more than fits");
    let mut shortest = None;
    for room in (0..2_000)
        .step_by(50)
        .chain((2_000..70_000).step_by(2_500))
        .chain([BLOCK_MAX])
    {
        let Some(block) = request::block(&about, room) else {
            assert!(room < 500, "{room} bytes are enough");
            continue;
        };
        shortest.get_or_insert(block.len());
        assert!(block.len() <= room, "{} in {room}", block.len());
        assert!(block.contains("towpath diff shop production --release v1.4.0"));
        let opened = block.matches("<details>").count();
        assert_eq!(opened, block.matches("</details>").count());
        if room > 5_000 {
            assert!(room - block.len() < 1_500, "{} of {room}", block.len());
            assert!(block.contains(" more"), "what is missing is told");
        }
        assert_eq!(request::block(&about, room), Some(block), "the same again");
    }
    assert!(shortest.is_some_and(|it| it < 500));
    // People's words leave less room, and keep all of theirs.
    for words in [10_000, 60_000, 65_000, 65_500] {
        let words = "w".repeat(words);
        match request::body(&words, &about) {
            Some(body) => {
                assert!(body.len() <= BODY_MAX && body.starts_with(&words));
                assert!(request::body(&body, &about).is_none(), "nothing changes");
            }
            None => assert!(words.len() > 65_000),
        }
    }
}

#[test]
fn a_title_is_one_short_line() {
    let mut about = values::large();
    about.release = values::release("v1\n#12\u{202e}", &"x".repeat(300));
    let title = request::title(&about, &TitleTemplate::default());
    assert_eq!(
        title, "production: shop v1 #\u{200b}12\\u{202e}",
        "what would act does not"
    );
    about.release = values::release(&"v".repeat(300), "a");
    let title = request::title(&about, &TitleTemplate::default());
    assert!(title.len() <= 256 && title.ends_with('…'), "{title}");
}
