//! Which releases tags make, and which of them is newest.

use super::*;
use crate::model::BranchFilter;

fn sources(images: &str) -> Vec<ImageSource> {
    let source = |image: &str| {
        let mut parts = image.split(' ');
        let name = parts.next().unwrap();
        let template =
            |text: Option<&str>| text.filter(|it| *it != "-").map(|it| it.parse().unwrap());
        ImageSource {
            repository: format!("registry.example.com/acme/{name}").parse().unwrap(),
            branch_tag: template(parts.next()),
            release_tag: template(parts.next()),
        }
    };
    images.split(", ").map(source).collect()
}

/// `shop/v1.0.0@5` is a tag of an image made in second 5; `=x` gives it the digest of `x`.
fn seen(tags: &str) -> TagsSeen {
    let mut seen = TagsSeen::new();
    for tag in tags.split_whitespace() {
        let (name, rest) = tag.split_once('/').unwrap();
        let (tag, rest) = rest.split_once('@').unwrap();
        let (at, content) = rest.split_once('=').unwrap_or((rest, tag));
        let image = TagSeen {
            digest: Digest::of(format!("{name} {content}").as_bytes()),
            built: Timestamp::from_second(at.parse().unwrap()).unwrap(),
            revision: None,
        };
        let repository = format!("registry.example.com/acme/{name}").parse().unwrap();
        let tags = seen.entry(repository).or_default();
        Arc::make_mut(tags).insert(tag.to_owned(), image);
    }
    seen
}

fn names(releases: &[Release]) -> String {
    releases
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

const BOTH: &str = "shop {branch}-{commit:7} {tag}";

#[test]
fn releases_stand_oldest_first() {
    let tags = |range: &str| Follow::Tags(range.parse().unwrap());
    let branches =
        |patterns: &[&str]| Follow::Branches(BranchFilter::new(patterns.iter().copied()).unwrap());
    for (tags_seen, follow, expected) in [
        // Versions by precedence, whenever they were built.
        (
            "shop/v1.10.0@1 shop/v1.9.0@2 shop/v1.2.0@3",
            tags("*"),
            "v1.2.0 v1.9.0 v1.10.0",
        ),
        (
            "shop/v1.0.0@1 shop/v2.0.0-rc.1@2",
            tags(">=1.0.0"),
            "v1.0.0",
        ),
        (
            "shop/v2.0.0@1 shop/v2.0.0-rc.2@3 shop/v2.0.0-rc.10@2",
            tags(">=2.0.0-rc.1"),
            "v2.0.0-rc.2 v2.0.0-rc.10 v2.0.0",
        ),
        // Build metadata has no precedence: the later one is newer.
        ("shop/v1.0.0@2 shop/1.0.0@1", tags("*"), "1.0.0 v1.0.0"),
        // What is no version is no release.
        ("shop/latest@9 shop/v1@8 shop/v1.0.0@1", tags("*"), "v1.0.0"),
        // Branch builds by the time they were made.
        (
            "shop/a-0000001@3 shop/b-0000002@1 shop/a-0000003@2",
            branches(&["*"]),
            "b-0000002 a-0000003 a-0000001",
        ),
        (
            "shop/master-0000001@3 shop/a-0000002@1",
            branches(&["*", "!master"]),
            "a-0000002",
        ),
        ("", tags("*"), ""),
    ] {
        let catalogue = Catalogue::assemble(&sources(BOTH), &seen(tags_seen), &BTreeMap::new());
        assert_eq!(names(&catalogue.releases(&follow)), expected, "{tags_seen}");
    }
}

#[test]
fn builds_of_one_moment_have_one_order() {
    let follow = Follow::Branches(BranchFilter::new(["*"]).unwrap());
    let order = |text: &str| {
        let catalogue = Catalogue::assemble(&sources(BOTH), &seen(text), &BTreeMap::new());
        names(&catalogue.releases(&follow))
    };
    let one = order("shop/a-0000001@1 shop/b-0000002@1 shop/c-0000003@1");
    assert_eq!(
        one,
        order("shop/c-0000003@1 shop/b-0000002@1 shop/a-0000001@1")
    );
}

#[test]
fn a_bound_lowers_a_build() {
    let follow = Follow::Branches(BranchFilter::new(["*"]).unwrap());
    let tags = seen("shop/a-0000001@9 shop/a-0000002@5");
    let bound = Timestamp::from_second(4).unwrap();
    let bounds = [("0000001".to_owned(), bound)].into();
    let catalogue = Catalogue::assemble(&sources(BOTH), &tags, &bounds);
    assert_eq!(names(&catalogue.releases(&follow)), "a-0000001 a-0000002");
}

#[test]
fn a_release_exists_once_all_its_images_do() {
    let two = sources("web {branch}-{commit:7} {tag}, api {branch}-{commit:7} {tag}");
    let tags = seen("web/v1.0.0@1 api/v1.0.0@1 web/v1.1.0@2 api/a-0000001@3");
    let catalogue = Catalogue::assemble(&two, &tags, &BTreeMap::new());
    let follow = Follow::Tags("*".parse().unwrap());
    assert_eq!(names(&catalogue.releases(&follow)), "v1.0.0");
    let incomplete = catalogue.incomplete(&follow);
    assert_eq!(incomplete.len(), 1);
    assert_eq!(incomplete[0].name, "v1.1.0");
    assert_eq!(incomplete[0].missing, [two[1].repository.clone()]);
    // What the range does not take is not waited for.
    let older = Follow::Tags("<1.1.0".parse().unwrap());
    assert_eq!(names(&catalogue.releases(&older)), "v1.0.0");
    assert!(catalogue.incomplete(&older).is_empty());
    // The digests of both make it what it is.
    let release = &catalogue.releases(&follow)[0];
    assert_eq!(release.images.len(), 2);
    assert_eq!(catalogue.find(&release.digests()).as_ref(), Some(release));
    let mut half = release.digests();
    half.remove(&two[0].repository);
    assert_eq!(catalogue.find(&half), None);
    // An image that has no such tags never comes.
    let one = sources("web {branch}-{commit:7} {tag}, api {branch}-{commit:7} -");
    let catalogue = Catalogue::assemble(&one, &tags, &BTreeMap::new());
    assert!(catalogue.releases(&follow).is_empty());
}

#[test]
fn one_image_under_two_tags_is_one_release() {
    let tags = seen("shop/a-0000001@1=x shop/v1.0.0@1=x");
    let catalogue = Catalogue::assemble(&sources(BOTH), &tags, &BTreeMap::new());
    let branches = Follow::Branches(BranchFilter::new(["*"]).unwrap());
    let digests = catalogue.releases(&branches)[0].digests();
    // People read the version.
    assert_eq!(catalogue.find(&digests).unwrap().name, "v1.0.0");
}
