//! GitHub's own description of its API, pruned (`openapi/`), as a judge of requests and answers.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Mutex, OnceLock};

use flate2::read::GzDecoder;
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use towpath::demo::github::Exchange;

/// Made by `regenerate`.
const DESCRIPTION: &[u8] = include_bytes!("openapi/github.json.gz");

/// What answers to everybody alike: not every operation's description lists them.
const COMMON: [u16; 8] = [400, 401, 403, 404, 405, 409, 422, 500];

/// What is wrong with these exchanges, by GitHub's description: bodies, fields and parameters that it does not
/// know, statuses that it does not list.
pub(crate) fn check(exchanges: &[Exchange]) -> Vec<String> {
    let mut findings = Vec::new();
    for exchange in exchanges {
        let Some(operation) = &exchange.operation else {
            continue;
        };
        if operation == "POST /graphql" {
            continue;
        }
        for finding in one(exchange, operation) {
            findings.push(format!("{} {}: {finding}", exchange.method, exchange.path));
        }
    }
    findings
}

fn one(exchange: &Exchange, operation: &str) -> Vec<String> {
    let described = &description()["operations"][operation];
    if described.is_null() {
        return vec![format!("{operation} is not described")];
    }
    let mut findings = Vec::new();
    for (name, value) in &exchange.query {
        match described["query"].get(name) {
            None => findings.push(format!("the query has no `{name}`")),
            Some(schema) => {
                let typed = match schema["type"].as_str() {
                    Some("integer") => value.parse::<i64>().map_or(json!(value), |it| json!(it)),
                    Some("boolean") => value.parse::<bool>().map_or(json!(value), |it| json!(it)),
                    _ => json!(value),
                };
                let at = format!("{operation} ? {name}");
                findings.extend(judge(&at, schema, &typed));
            }
        }
    }
    // What was refused may well have been malformed.
    let went_well = exchange.status < 300;
    if went_well && !exchange.request.is_null() {
        let schema = &described["body"];
        findings.extend(judge(
            &format!("{operation} body"),
            schema,
            &exchange.request,
        ));
        findings.extend(unknown(schema, &exchange.request));
    }
    let status = exchange.status.to_string();
    match described["answers"].get(&status) {
        Some(Value::Null) => {}
        Some(schema) => {
            let at = format!("{operation} {status}");
            findings.extend(judge(&at, schema, &exchange.answer));
        }
        None if COMMON.contains(&exchange.status) || exchange.status == 304 => {}
        None => findings.push(format!("{status} is not described")),
    }
    findings
}

/// Fields of a request that GitHub would pass over in silence.
fn unknown(schema: &Value, body: &Value) -> Vec<String> {
    let (Some(known), Some(body)) = (schema["properties"].as_object(), body.as_object()) else {
        return Vec::new();
    };
    body.keys()
        .filter(|name| !known.contains_key(*name))
        .map(|name| format!("the request has no `{name}`"))
        .collect()
}

fn judge(at: &str, schema: &Value, value: &Value) -> Vec<String> {
    static VALIDATORS: Mutex<BTreeMap<String, &'static Validator>> = Mutex::new(BTreeMap::new());
    if schema.is_null() {
        return match value {
            Value::Null => Vec::new(),
            _ => vec![format!("{at}: there is no such body")],
        };
    }
    let known = VALIDATORS.lock().unwrap().get(at).copied();
    let validator = known.unwrap_or_else(|| {
        let mut whole = Map::new();
        whole.insert("allOf".to_owned(), json!([schema]));
        whole.insert("components".to_owned(), description()["components"].clone());
        let made = jsonschema::validator_for(&Value::Object(whole)).unwrap();
        let made: &'static Validator = Box::leak(Box::new(made));
        VALIDATORS.lock().unwrap().insert(at.to_owned(), made);
        made
    });
    validator
        .iter_errors(value)
        .take(5)
        .map(|error| format!("{at} at `{}`: {error}", error.instance_path()))
        .map(|text| text.chars().take(600).collect())
        .collect()
}

fn description() -> &'static Value {
    static PARSED: OnceLock<Value> = OnceLock::new();
    PARSED.get_or_init(|| {
        let mut text = String::new();
        GzDecoder::new(DESCRIPTION)
            .read_to_string(&mut text)
            .unwrap();
        serde_json::from_str(&text).unwrap()
    })
}

#[test]
fn the_judge_finds_what_is_wrong() {
    let good = Exchange {
        method: "POST".to_owned(),
        path: "/repos/acme/infra/git/refs".to_owned(),
        operation: Some("POST /repos/{owner}/{repo}/git/refs".to_owned()),
        query: Vec::new(),
        request: json!({ "ref": "refs/heads/a", "sha": "1" }),
        status: 201,
        answer: json!({ "ref": "refs/heads/a", "node_id": "R", "url": "u", "object": { "type": "commit", "sha": "0".repeat(40), "url": "u" } }),
        login: String::new(),
    };
    assert_eq!(check(std::slice::from_ref(&good)), Vec::<String>::new());
    for (what, pointer, value) in [
        ("a field of the wrong type", "answer", json!({ "ref": 1 })),
        (
            "a request without what is required",
            "request",
            json!({ "ref": "a" }),
        ),
        (
            "a field that is not known",
            "request",
            json!({ "ref": "a", "sha": "1", "force": true }),
        ),
        ("a status that is not described", "status", json!(299)),
    ] {
        let mut bad = good.clone();
        match pointer {
            "answer" => bad.answer = value,
            "request" => bad.request = value,
            _ => bad.status = 299,
        }
        assert!(!check(&[bad]).is_empty(), "{what} is not found");
    }
}
