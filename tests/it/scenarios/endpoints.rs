//! What is asked by smoke tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use towpath::model::SmokeTest;
use towpath::smoke::Probe;

/// Addresses and what they answer. One that is not named is not there.
#[derive(Clone, Default)]
pub(super) struct Endpoints {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    answers: BTreeMap<String, (u16, String)>,
    asked: usize,
}

impl Endpoints {
    pub(super) fn answer(&self, address: &str, status: u16, body: &str) {
        let answer = (status, body.to_owned());
        let mut kept = self.kept.lock().unwrap();
        kept.answers.insert(address.to_owned(), answer);
    }

    /// How often anything was asked.
    pub(super) fn asked(&self) -> usize {
        self.kept.lock().unwrap().asked
    }
}

#[async_trait]
impl Probe for Endpoints {
    async fn ask(&self, test: &SmokeTest) -> Result<(), String> {
        let mut kept = self.kept.lock().unwrap();
        kept.asked += 1;
        let address = test.get.to_string();
        let seen = match kept.answers.get(&address) {
            None => "connection refused".to_owned(),
            Some((status, _)) if *status != test.expect => status.to_string(),
            Some((_, body)) => match &test.contains {
                Some(text) if !body.contains(text) => format!("without `{text}`"),
                _ => return Ok(()),
            },
        };
        Err(format!("{address}: {seen}"))
    }
}
