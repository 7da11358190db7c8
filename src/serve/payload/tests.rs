//! What is read from webhooks as they are sent (`fixtures/webhooks`), and from what nobody should send.

use std::path::Path;

use super::*;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/webhooks")
}

fn text(said: &Said) -> String {
    let mut text = said.event.to_owned();
    for change in &said.changes {
        text.push_str(&match change {
            Change::Nothing(addresses) => format!("\n  nothing: {}", addresses.join(" ")),
            Change::Requests(addresses) => format!("\n  requests: {}", addresses.join(" ")),
            Change::Check(addresses, name) => {
                format!("\n  check `{name}`: {}", addresses.join(" "))
            }
            Change::Git(addresses, moved) => {
                let moved = moved.as_ref().map(|moved| {
                    let after = moved.after.map(|after| after.short());
                    let after = after.unwrap_or_else(|| "gone".to_owned());
                    format!(" {} is {after}", moved.reference)
                });
                let moved = moved.unwrap_or_default();
                format!("\n  git: {}{moved}", addresses.join(" "))
            }
            Change::Image(repository, tag) => {
                let tag = tag.as_ref().map(|(tag, digest)| {
                    let digest = digest.map(|digest| format!(" is {}", digest.short()));
                    format!(" {tag}{}", digest.unwrap_or_default())
                });
                format!("\n  image: {repository}{}", tag.unwrap_or_default())
            }
        });
    }
    text
}

#[test]
fn webhooks_are_read_as_they_are_sent() {
    let mut told = String::new();
    for sender in Sender::ALL {
        let entries = std::fs::read_dir(folder().join(sender.name())).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap().to_str().unwrap();
            let event = name.split('.').next();
            let body = std::fs::read(&path).unwrap();
            let said = match read(sender, event, &body) {
                Ok(said) => text(&said),
                Err(error) => format!("{error}"),
            };
            told.push_str(&format!("{sender}/{name}: {said}\n"));
        }
    }
    let recorded = folder().join("said.txt");
    if std::env::var_os("TOWPATH_UPDATE").is_some() {
        std::fs::write(&recorded, &told).unwrap();
    }
    assert_eq!(told, std::fs::read_to_string(recorded).unwrap());
}

/// Every body is cut at many places and has each of its values replaced: an answer always comes.
#[test]
fn what_nobody_sends_is_refused_or_says_little() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_field = format!("{{\"repository\":{deep}}}");
    let many = format!("{{\"events\":[{}{{}}]}}", "{},".repeat(200_000));
    let lie = r#"{"ref":7,"after":{},"repository":[],"events":"no","type":null,"push_data":1}"#;
    let hostile: [&[u8]; 12] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\"text\"",
        b"{}",
        b"{\"a\":1e999999}",
        b"\xff\xfe{}",
        b"{\"events\":[{\"target\":{\"repository\":\"\xff\"}}]}",
        deep.as_bytes(),
        deep_field.as_bytes(),
        lie.as_bytes(),
    ];
    for sender in Sender::ALL {
        for event in [
            "push",
            "pull_request",
            "check_run",
            "package",
            "ping",
            "",
            "x",
        ] {
            for body in hostile {
                if let Ok(said) = read(sender, Some(event), body) {
                    let named = said.changes.iter().any(|change| match change {
                        Change::Nothing(names) | Change::Requests(names) => !names.is_empty(),
                        Change::Git(names, _) => !names.is_empty(),
                        Change::Check(names, _) => !names.is_empty(),
                        Change::Image(..) => true,
                    });
                    assert!(!named, "{sender} {event} {said:?}");
                }
            }
            assert!(read(sender, Some(event), &deep.clone().into_bytes()).is_err());
        }
        let event = ["github", "gitea"].contains(&sender.name());
        assert_eq!(
            event,
            matches!(read(sender, None, b"{}"), Err(Malformed::Event(_)))
        );
    }
    assert!(read(Sender::Registry, None, many.as_bytes()).is_ok());
    for sender in Sender::ALL {
        for entry in std::fs::read_dir(folder().join(sender.name())).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let event = name.split('.').next();
            let body = std::fs::read(&path).unwrap();
            let whole = read(sender, event, &body).unwrap();
            let end = body.len() - 2;
            for cut in (0..end).step_by(1 + end / 50) {
                assert!(
                    read(sender, event, &body[..cut]).is_err(),
                    "{name} cut at {cut}"
                );
            }
            let mut value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            for key in keys {
                for other in [
                    serde_json::json!(7),
                    serde_json::json!([[]]),
                    serde_json::Value::Null,
                ] {
                    let before = std::mem::replace(&mut value[&key], other);
                    let said = read(sender, event, value.to_string().as_bytes());
                    value[&key] = before;
                    if let Ok(said) = said {
                        assert!(
                            said.changes.len() <= whole.changes.len(),
                            "{name}: {said:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn of_long_lists_only_so_many_names_are_kept() {
    let image = "\"registry.example.com/acme/shop\"";
    let list = vec![image; 10_000].join(",");
    let said = read(
        Sender::Generic,
        None,
        format!("{{\"images\":[{list}]}}").as_bytes(),
    );
    assert_eq!(said.unwrap().changes.len(), 256);
    let cut = format!("{{\"images\":[{list}");
    assert!(read(Sender::Generic, None, cut.as_bytes()).is_err());
}
