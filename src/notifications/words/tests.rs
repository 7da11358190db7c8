//! What is said, and that nothing in it is more than text.

use super::*;
use crate::model::{Contents, Credential, EnvironmentName, Images, Rank, Release, WebAddress};

fn at() -> Timestamp {
    "2026-01-01T17:00:00Z".parse().unwrap()
}

fn release(name: &str) -> Release {
    Release::from(Contents {
        images: Images::default(),
        name: name.to_owned(),
        commit: None,
        rank: Rank {
            version: None,
            built: at(),
        },
    })
}

fn news(occasion: Occasion, reason: Option<&str>, by: Option<&str>) -> News {
    let environment: EnvironmentName = "production".parse().unwrap();
    News {
        occasion,
        environment,
        application: Some("shop".parse().unwrap()),
        release: Some(release("v1.4.0")),
        number: Some(42),
        commit: None,
        reason: reason.map(str::to_owned),
        by: by.map(str::to_owned),
        unblock: None,
        at: at(),
        key: "production/shop/failed/42/1".to_owned(),
    }
}

fn notification(slack: bool, template: Option<&str>) -> Notification {
    let url = WebAddress::Plain("https://hooks.example.com/hunter2".parse().unwrap());
    Notification {
        name: "chat".parse().unwrap(),
        receiver: match slack {
            true => Receiver::Slack { url },
            false => Receiver::Webhook {
                url,
                secret: Some(Credential::Default),
            },
        },
        on: Occasion::ALL.into(),
        environments: None,
        stuck_after: std::time::Duration::from_secs(60),
        template: template.map(|template| template.parse().unwrap()),
    }
}

fn sent(notification: &Notification, news: &News) -> Value {
    let message = message(notification, news, None, at());
    serde_json::from_slice(&message.body).unwrap()
}

#[test]
fn each_occasion_has_its_sentence() {
    let ann = Some("ann@example.com");
    for (occasion, reason, by, expected) in [
        (
            Occasion::Proposed,
            None,
            None,
            "production: shop v1.4.0 is proposed",
        ),
        (
            Occasion::Declined,
            None,
            None,
            "production: shop v1.4.0 is declined",
        ),
        (
            Occasion::Healthy,
            None,
            None,
            "production: shop v1.4.0 is healthy (deployment 42)",
        ),
        (
            Occasion::Failed,
            Some("it\nbroke"),
            None,
            "production: shop v1.4.0 failed (deployment 42): it broke",
        ),
        (
            Occasion::Held,
            Some("the fair"),
            ann,
            "production: shop is held by ann@example.com: the fair",
        ),
        (
            Occasion::Resumed,
            None,
            ann,
            "production: shop is resumed by ann@example.com",
        ),
        (
            Occasion::Stuck,
            Some("nobody merges"),
            None,
            "production: shop has been waiting since 2026-01-01T17:00:00Z: nobody merges",
        ),
    ] {
        assert_eq!(text(&news(occasion, reason, by)), expected);
    }
}

#[test]
fn hostile_text_is_text() {
    let hostile = "<!channel> <https://evil.example|log in> & @here @everyone (@all) ann@example.com \u{202e}";
    let mut it = news(Occasion::Failed, Some(hostile), Some("<@U123>"));
    it.release = Some(release("<!here>*v1*"));
    for template in [None, Some("{release} {reason} {by} {text}")] {
        let slack = sent(&notification(true, template), &it);
        let text = slack["text"].as_str().unwrap();
        assert!(!text.contains(['<', '>', '\u{202e}']), "{text}");
        for mention in ["@here", "@everyone", "@all", "@U123"] {
            assert!(!text.contains(mention), "{mention} in {text}");
        }
        // An address of a person stays one.
        assert!(text.contains("ann@example.com"), "{text}");
        let block = &slack["blocks"][0]["text"];
        assert_eq!(block["text"], slack["text"]);
        assert_eq!(block["verbatim"], true);
        let webhook = sent(&notification(false, template), &it);
        assert_eq!(
            webhook["reason"], hostile,
            "a document holds what was said as it is"
        );
    }
    // A template's own markup is its author's.
    let slack = sent(&notification(true, Some("<!here> {application}")), &it);
    assert_eq!(slack["text"], "<!here> shop");
}

#[test]
fn what_is_long_is_cut_between_characters() {
    let long = "&".repeat(5_000);
    let slack = sent(
        &notification(true, Some(&"{reason}".repeat(9))),
        &news(Occasion::Failed, Some(&long), None),
    );
    let text = slack["text"].as_str().unwrap();
    assert!(text.chars().count() <= SLACK_MAX + 1);
    assert!(text.ends_with("&amp;…"), "{text}");
}

#[test]
fn one_message_has_one_id() {
    let (chat, it) = (
        notification(false, None),
        news(Occasion::Failed, None, None),
    );
    let first = message(&chat, &it, None, at());
    let later = message(&chat, &it, None, at() + jiff::SignedDuration::from_hours(1));
    assert_eq!(first.id, later.id);
    assert_ne!(first.body, later.body, "each attempt says when it was sent");
    let body: Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(body["id"], first.id.as_str());
    assert_eq!(body["key"], it.key.as_str());
    let mut ops = chat;
    ops.name = "ops".parse().unwrap();
    assert_ne!(message(&ops, &it, None, at()).id, first.id);
}
