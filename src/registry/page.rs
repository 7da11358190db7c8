//! One page of a tag list, and where the next one is.
//!
//! Pure. Format: [listing tags](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags),
//! `Link` as RFC 8288 writes it.

use serde::Deserialize;
use url::Url;

use super::error::Said;

#[derive(Deserialize)]
struct Page {
    /// Some servers write null for a repository whose tags were all deleted.
    tags: Option<Vec<String>>,
}

/// The tags of a page, in the server's order.
pub(super) fn tags(body: &[u8]) -> Result<Vec<String>, String> {
    let page: Page = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!(
            "its tag list is not JSON as specified (line {line}, column {column}): \
             is this a registry of the OCI distribution API?"
        )
    })?;
    Ok(page.tags.unwrap_or_default())
}

/// The next page by a `Link` header, or `None` where that names no next one. Only path and query are
/// taken from it, so that no request and no credential leaves the host.
pub(super) fn next(page: &Url, link: &str) -> Result<Option<Url>, String> {
    let Some(target) = target(link) else {
        return Ok(None);
    };
    let elsewhere = || {
        format!(
            "its next page of tags{} is not on the same host",
            Said::new(target)
        )
    };
    let target_url = page.join(target).map_err(|_| elsewhere())?;
    if target_url.host() != page.host() {
        return Err(elsewhere());
    }
    let mut url = page.clone();
    url.set_path(target_url.path());
    url.set_query(target_url.query());
    Ok(Some(url))
}

/// The target with `rel=next`. Splits at `<`, which no target may hold, because targets may hold commas.
fn target(link: &str) -> Option<&str> {
    link.split('<').skip(1).find_map(|entry| {
        let (target, parameters) = entry.split_once('>')?;
        let next = parameters.split([';', ',']).any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                let mut relations = value.trim().trim_matches('"').split(' ');
                name.trim().eq_ignore_ascii_case("rel")
                    && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
            })
        });
        next.then_some(target)
    })
}

/// The page after this tag, for servers that send no `Link`.
pub(super) fn after(first: &Url, last: &str) -> Url {
    let mut url = first.clone();
    url.query_pairs_mut().append_pair("last", last);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_on_the_same_host() {
        let page = Url::parse("https://r.io/v2/a/tags/list?n=2").unwrap();
        for (link, next_page) in [
            (
                r#"</v2/a/tags/list?n=2&last=b>; rel="next""#,
                Ok("https://r.io/v2/a/tags/list?n=2&last=b"),
            ),
            (
                r"<list?last=b>;rel=next",
                Ok("https://r.io/v2/a/tags/list?last=b"),
            ),
            (
                r#"<https://r.io/x?y=a,b>; title="t"; REL="prev next""#,
                Ok("https://r.io/x?y=a,b"),
            ),
            (r#"<http://r.io:80/x>; rel="next""#, Ok("https://r.io/x")),
            (
                r#"</p>; rel="prev", </n>; rel="next""#,
                Ok("https://r.io/n"),
            ),
            (r#"</p>; rel="prev""#, Ok("")),
            ("", Ok("")),
            ("<", Ok("")),
            ("</x", Ok("")),
            ("</x>", Ok("")),
            (r#"<https://evil.io/x>; rel="next""#, Err(())),
            (r#"<//evil.io/x>; rel="next""#, Err(())),
            (r#"<https://r.io@evil.io/x>; rel="next""#, Err(())),
            (r#"<file:///etc/passwd>; rel="next""#, Err(())),
            (r#"<https://[>; rel="next""#, Err(())),
        ] {
            let found = next(&page, link)
                .map(|url| url.map_or_else(String::new, String::from))
                .map_err(drop);
            assert_eq!(found, next_page.map(str::to_owned), "{link}");
        }
    }

    #[test]
    fn pages_are_read() {
        assert_eq!(
            tags(br#"{"name":"a","tags":["b","a"]}"#).unwrap(),
            ["b", "a"]
        );
        assert!(tags(br#"{"name":"a","tags":null}"#).unwrap().is_empty());
        assert!(tags(br#"{"name":"a"}"#).unwrap().is_empty());
        for body in [
            "",
            "[]",
            "{\"tags\":{}}",
            "{\"tags\":[1]}",
            "<html>",
            "\u{0}",
        ] {
            assert!(tags(body.as_bytes()).is_err(), "{body}");
        }
    }
}
