//! What goes back: replies, refusals in GitHub's form, pages and their links.
//!
//! Sources: [pages](https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api),
//! [errors](https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api).

use std::io;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

/// What every documentation link of an error points below.
const DOCS: &str = "https://docs.github.com/rest";

pub(super) type Answer = Result<Reply, Refusal>;

/// An answer to a request that was done.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Option<Value>,
    pub(super) link: Option<String>,
}

impl Reply {
    pub(super) fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    pub(super) fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            body: Some(body),
            link: None,
        }
    }

    pub(super) fn empty() -> Self {
        Self {
            status: 204,
            body: None,
            link: None,
        }
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = respond(self.status, self.body.as_ref());
        if let Some(link) = self.link.and_then(|link| HeaderValue::from_str(&link).ok()) {
            response.headers_mut().insert(LINK, link);
        }
        response
    }
}

/// An answer to a request that was not.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    message: String,
    errors: Option<Value>,
    headers: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            errors: None,
            headers: Vec::new(),
        }
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, "Not Found")
    }

    /// 422 for one field. `code` is one of GitHub's: `missing_field`, `invalid`, `custom` …
    pub(super) fn invalid(resource: &str, field: &str, code: &str) -> Self {
        Self {
            errors: Some(json!([{ "resource": resource, "field": field, "code": code }])),
            ..Self::new(422, "Validation Failed")
        }
    }

    /// 422 in words.
    pub(super) fn custom(resource: &str, message: &str) -> Self {
        Self {
            errors: Some(json!([{ "resource": resource, "code": "custom", "message": message }])),
            ..Self::new(422, "Validation Failed")
        }
    }

    /// 422 with a list of sentences.
    pub(super) fn said(messages: &[&str]) -> Self {
        Self {
            errors: Some(json!(messages)),
            ..Self::new(422, "Unprocessable Entity")
        }
    }

    /// The same words under another status.
    pub(super) fn into_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn into_response(self) -> Response {
        let mut body = json!({ "message": self.message });
        if let Some(errors) = self.errors {
            body["errors"] = errors;
        }
        body["documentation_url"] = json!(DOCS);
        body["status"] = json!(self.status.to_string());
        let mut response = respond(self.status, Some(&body));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response
                    .headers_mut()
                    .insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// What git could not do is the simulator's fault.
impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::new(500, error.to_string())
    }
}

pub(super) fn respond(status: u16, body: Option<&Value>) -> Response {
    let text = body.map(Value::to_string).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    if body.is_some() {
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, json);
    }
    response
}

/// Which part of a list was asked for.
#[derive(Clone, Copy)]
pub(super) struct Page {
    pub(super) number: usize,
    pub(super) size: usize,
}

impl Page {
    pub(super) fn cut<T>(self, all: Vec<T>) -> Vec<T> {
        let first = (self.number - 1).saturating_mul(self.size);
        all.into_iter().skip(first).take(self.size).collect()
    }

    /// The `Link` header of a list of so many; none where one page holds it.
    pub(super) fn link(
        self,
        total: usize,
        address: &str,
        query: &[(String, String)],
    ) -> Option<String> {
        let last = total.div_ceil(self.size).max(1);
        let mut links = Vec::new();
        let mut add = |number: usize, rel: &str| {
            let mut to = url::form_urlencoded::Serializer::new(String::new());
            to.extend_pairs(query.iter().filter(|(name, _)| name != "page"));
            to.append_pair("page", &number.to_string());
            links.push(format!("<{address}?{}>; rel=\"{rel}\"", to.finish()));
        };
        if self.number > 1 {
            add(self.number - 1, "prev");
        }
        if self.number < last {
            add(self.number + 1, "next");
            add(last, "last");
        }
        if self.number > 1 {
            add(1, "first");
        }
        (!links.is_empty()).then(|| links.join(", "))
    }
}
