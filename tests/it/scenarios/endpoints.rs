//! What is asked by smoke tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::watch;
use towpath::evidence::AskEvidence;
use towpath::model::{Digest, EvidenceEndpoint, SmokeTest};
use towpath::smoke::Probe;

/// Addresses and what they answer. One that is not named is not there.
#[derive(Clone, Default)]
pub(super) struct Endpoints {
    kept: Arc<Mutex<Kept>>,
    /// How many are waiting for an address that does not answer.
    hanging: watch::Sender<usize>,
}

#[derive(Default)]
struct Kept {
    answers: BTreeMap<String, (u16, String)>,
    asked: usize,
    hang: bool,
}

/// Somebody who waits for an answer that never comes.
struct Hanging(watch::Sender<usize>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Endpoints {
    /// From now on nothing answers, ever.
    pub(super) fn hang(&self) {
        self.kept.lock().unwrap().hang = true;
    }

    /// How many are waiting for an answer that never comes.
    pub(super) fn hanging(&self) -> watch::Receiver<usize> {
        self.hanging.subscribe()
    }

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
impl AskEvidence for Endpoints {
    async fn about(
        &self,
        endpoint: &EvidenceEndpoint,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, String> {
        let mut kept = self.kept.lock().unwrap();
        kept.asked += 1;
        let address = endpoint.about(digest).unwrap().to_string();
        match kept.answers.get(&address) {
            None | Some((404, _)) => Ok(None),
            Some((200, body)) => Ok(Some(body.clone().into_bytes())),
            Some((status, _)) => Err(format!("{status}, 200 or 404 is expected")),
        }
    }
}

#[async_trait]
impl Probe for Endpoints {
    async fn ask(&self, test: &SmokeTest) -> Result<(), String> {
        if self.kept.lock().unwrap().hang {
            self.hanging.send_modify(|count| *count += 1);
            let _hanging = Hanging(self.hanging.clone());
            std::future::pending::<()>().await;
        }
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
