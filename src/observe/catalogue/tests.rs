//! Which commit an image was built from, as far as image, tag and source repository say.

use std::sync::Arc;

use super::*;
use crate::git::Repository;
use crate::git::memory::MemoryRemote;
use crate::observe::HistoryReader;

#[tokio::test]
async fn a_tag_of_the_source_repository_names_the_commit_of_a_release() {
    let remote = MemoryRemote::new("https://git.example.com/shop");
    let ann = remote.person("Ann");
    let now = Timestamp::UNIX_EPOCH;
    let one = ann
        .commit("master", &[("code", Some("1"))], "one", now)
        .unwrap();
    ann.tag("v1.0.0", one, "one", now).unwrap();
    let reader = HistoryReader::new(Repository::in_memory(Arc::new(remote.clone())));
    let first = reader.read().await.unwrap();
    let two = ann
        .commit("master", &[("code", Some("2"))], "two", now)
        .unwrap();
    reader.read().await.unwrap();
    // A tag on a commit that is known already is news.
    ann.tag("v2.0.0", two, "two", now).unwrap();
    let second = reader.read().await.unwrap();
    assert!(Arc::ptr_eq(&second, &reader.read().await.unwrap()));

    let image = |release: &str| ImageSource {
        repository: "registry.example.com/acme/shop".parse().unwrap(),
        branch_tag: Some("{branch}-{commit:7}".parse().unwrap()),
        release_tag: Some(release.parse().unwrap()),
    };
    let build = |revision: Option<CommitId>| TagSeen {
        digest: crate::model::Digest::of(b"shop"),
        built: now,
        revision: revision.map(|it| it.to_string()),
    };
    let branch = format!("master-{}", one.short());
    for (history, form, tag, revision, expected) in [
        (&first, "{tag}", "v1.0.0", None, Some(one)),
        (&first, "{tag}", "v2.0.0", None, None),
        (&second, "{tag}", "v2.0.0", None, Some(two)),
        (&second, "shop-{tag}", "shop-v2.0.0", None, Some(two)),
        // What the image says counts more.
        (&second, "{tag}", "v2.0.0", Some(one), Some(one)),
        (&second, "{tag}", &branch, None, Some(one)),
        (&second, "{tag}", "v3.0.0", None, None),
    ] {
        let found = built_from(&image(form), tag, &build(revision), history);
        assert_eq!(found.map(|it| it.1), expected, "{tag} of the form {form}");
    }
}
