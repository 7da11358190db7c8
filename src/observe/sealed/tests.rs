//! Opening, with a program that stands for sops.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const PLAIN: &str = "kind: Secret\npassword: hunter2\n";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/sops")
        .join(name)
}

fn sops() -> Sops {
    Sops {
        binary: fixture("sops"),
        age_key_file: Some(fixture("qa.txt")),
        timeout: Duration::from_secs(1),
    }
}

fn file(key: &str, mood: &str) -> Bytes {
    let sealed = STANDARD.encode(PLAIN);
    format!("sealed: {sealed}\nsops: {{ key: {key}, mood: {mood} }}\n").into()
}

fn id(of: u8) -> ObjectId {
    ObjectId::from_bytes_or_panic(&[of; 20])
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

#[tokio::test]
async fn a_program_that_does_not_open_it_is_told_of_without_what_it_says() {
    let missing = Sops {
        binary: fixture("nothing-here"),
        ..sops()
    };
    let other_key = Sops {
        age_key_file: Some(fixture("sops")),
        ..sops()
    };
    for (sops, mood, expected) in [
        (&sops(), "fine", None),
        (&sops(), "deaf", None),
        (&sops(), "hang", Some("gave no answer within 1 s")),
        (&sops(), "mac", Some("was changed after it was encrypted")),
        (
            &sops(),
            "fail",
            Some("(exit code 25; what it says is not shown"),
        ),
        (&sops(), "killed", Some("was ended: signal: 9")),
        (&sops(), "latin", Some("gives something else than UTF-8")),
        (
            &sops(),
            "large",
            Some("gives more than a manifest file may hold"),
        ),
        (
            &missing,
            "fine",
            Some("nothing-here is not there: install it"),
        ),
        (
            &other_key,
            "fine",
            Some(
                "has no key for it: Failed to get the data key required to decrypt the \\u{1b}[31mfile.",
            ),
        ),
    ] {
        let found = decrypt(sops, "secret.yaml", &file("qa", mood)).await;
        match (&found, expected) {
            (Ok(text), None) => assert_eq!(text.expose(), PLAIN, "{mood}"),
            (Err(why), Some(expected)) => {
                assert!(why.contains(expected), "{mood}: {why}");
                assert!(!why.contains("hunter2"), "{mood}: {why}");
            }
            _ => panic!("{mood}: {found:?}"),
        }
    }
    let json = STANDARD.encode(PLAIN);
    let json = format!("{{\n\"sealed\": \"{json}\",\n\"sops\": {{\n\"key\": \"qa\" }} }}");
    let opened = decrypt(&sops(), "secret.json", json.as_bytes()).await;
    assert_eq!(opened.unwrap().expose(), PLAIN);
}

#[tokio::test]
async fn what_is_asked_for_is_opened_once_and_for_its_environment_alone() {
    let sealed = Sealed::default();
    let blobs = |_| Ok(file("qa", "fine"));
    let why = |now, sops: &Sops| {
        sealed
            .open(sops, "k/secret.yaml", id(1), at(now))
            .map_err(|it| it.why)
    };
    assert!(sealed.is_idle());
    assert_eq!(why(0, &sops()).unwrap_err(), "sops is decrypting it");
    // It waits for nothing: the asking itself is remembered.
    sealed.asked().await;
    assert!(!sealed.is_idle());
    assert!(sealed.work(blobs, at(0)).await);
    assert!(sealed.is_idle());
    assert_eq!(why(1, &sops()).unwrap().expose(), PLAIN);
    assert!(!sealed.work(blobs, at(1)).await, "it is open");
    // Another environment asks for the same bytes: its own keys must open them.
    let other = Sops {
        age_key_file: None,
        ..sops()
    };
    assert!(why(1, &other).is_err());
    assert!(sealed.work(blobs, at(1)).await);
    assert!(why(2, &other).unwrap_err().contains("has no key for it"));
    assert!(why(2, &sops()).is_ok());
}

#[tokio::test]
async fn what_could_not_be_opened_is_tried_again_later_and_later() {
    let sealed = Sealed::default();
    let open = |now| sealed.open(&sops(), "k/secret.yaml", id(1), at(now));
    let broken = |_| Ok(file("production", "fine"));
    let mut retries = Vec::new();
    let mut now = 0;
    for _ in 0..10 {
        assert!(open(now).is_err());
        assert!(sealed.work(broken, at(now)).await, "it is due at {now}");
        let unreadable = open(now).unwrap_err();
        assert_eq!(unreadable.since, at(0));
        assert!(
            !sealed.work(broken, at(now)).await,
            "it is not due at {now}"
        );
        let next = unreadable.retry.unwrap().as_second();
        retries.push(next - now);
        now = next;
    }
    assert_eq!(retries, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert!(open(now).is_err());
    assert!(sealed.work(|_| Ok(file("qa", "fine")), at(now)).await);
    assert_eq!(open(now).unwrap().expose(), PLAIN);
}

#[test]
fn memory_is_bounded() {
    let mut state = State::default();
    let text = "x".repeat(KEPT_BYTES / 3);
    for of in 0..10 {
        let key = Key {
            blob: id(of),
            sops: sops(),
        };
        state.keep(key, "k/secret.yaml", Ok(Secret::new(text.clone())), at(0));
        assert!(state.bytes <= KEPT_BYTES);
        assert_eq!(state.bytes, state.open.len() * text.len());
    }
}
