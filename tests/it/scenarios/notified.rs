//! Who is told of news: by real HTTP, of what scenarios do. Nothing is lost, nothing is told twice but under the
//! same key, and nobody waits for anybody else.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use towpath::git::memory::{Call, Strike};
use towpath::http::{self, Allowed, HttpSettings};
use towpath::model::{Author, Notification, Occasion, Receiver, WebAddress};
use towpath::notifications::{Notifier, Pace, Standings, Told, notified_ref};
use towpath::secret::Secret;
use towpath::serve;

use super::commands::Teller;
use super::story;
use crate::looks;

const STORY: &str = "
applications
    applications:
      - name: shop
        images: [ { repository: registry.example.com/acme/shop, release-tag: '{tag}' } ]
        environments: [qa, production]
config production
    follow: { environment: qa, soak: 5s }
    gate: branch
begin
";

/// A release is proposed, merged, and healthy.
const RELEASE: &str = "
push shop v1.1.0
wait 1m
merge production
wait 1m
";

/// The headers and the document.
type Message = (HeaderMap, Value);

/// A status, and how long it asks to wait.
type Answer = (u16, Option<&'static str>);

/// What documents are signed with, where they are.
const SECRET: &str = "It's a secret";

/// Somebody who is told.
struct Ear {
    url: String,
    got: Arc<Mutex<Vec<Message>>>,
    /// How the next ones are answered; 200 after that.
    answers: Arc<Mutex<VecDeque<Answer>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Ear {
    async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<Message>>> = Arc::default();
        let answers: Arc<Mutex<VecDeque<Answer>>> = Arc::default();
        let (heard, next) = (got.clone(), answers.clone());
        let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let answer = next.lock().unwrap().pop_front().unwrap_or((200, None));
            if let Some(shown) = headers.get("x-towpath-signature-256") {
                let signature = serve::signature(&Secret::new(SECRET), &body);
                assert_eq!(shown, &format!("sha256={signature}"));
            }
            let body = serde_json::from_slice(&body).unwrap();
            heard.lock().unwrap().push((headers, body));
            async move {
                let mut headers = HeaderMap::new();
                if let Some(wait) = answer.1 {
                    headers.insert("retry-after", wait.parse().unwrap());
                }
                (StatusCode::from_u16(answer.0).unwrap(), headers, "said")
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            got,
            answers,
            task,
        }
    }

    fn answers(&self, status: u16, retry_after: Option<&'static str>, times: usize) {
        let answers = std::iter::repeat_n((status, retry_after), times);
        self.answers.lock().unwrap().extend(answers);
    }

    /// What was sent since this was asked last, attempts that were turned away included.
    fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.got.lock().unwrap())
    }

    /// The events of it.
    fn events(&self) -> Vec<String> {
        let got = self.take().into_iter();
        got.map(|(_, body)| body["event"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn notification(name: &str, ear: &Ear, on: impl Into<BTreeSet<Occasion>>) -> Notification {
    Notification {
        name: name.parse().unwrap(),
        receiver: Receiver::Webhook {
            url: WebAddress::Plain(ear.url.parse().unwrap()),
            secret: None,
        },
        on: on.into(),
        environments: Some(["production".parse().unwrap()].into()),
        stuck_after: Duration::from_secs(1800),
        template: None,
    }
}

/// The scenario, and those who tell of it.
struct Stage {
    teller: Teller,
    told: Vec<Notification>,
    pace: Pace,
    notifiers: Vec<Notifier>,
    standings: Standings,
}

impl Stage {
    async fn begin(told: Vec<Notification>) -> Self {
        let mut stage = Self {
            teller: Teller::new(),
            told,
            pace: Pace::default(),
            notifiers: Vec::new(),
            standings: Standings::default(),
        };
        stage.tell(STORY).await;
        stage.start();
        stage.turn().await;
        stage
    }

    async fn tell(&mut self, text: &str) {
        for line in story::read(text) {
            if let story::Line::Command(command) = line {
                self.teller.run(&command).await;
            }
        }
    }

    /// Those who tell start anew, each beside a Towpath.
    fn start(&mut self) {
        let settings = HttpSettings::default();
        let outward = http::outward(&settings, Allowed::ANYWHERE).unwrap();
        let site = &self.teller.site;
        let start = |towpath: &super::site::Towpath| {
            let told = Told {
                notifications: self.told.clone(),
                outward: outward.clone(),
                author: Author {
                    name: "Towpath".to_owned(),
                    email: "towpath@example.com".to_owned(),
                },
                pace: self.pace,
                standings: self.standings.clone(),
            };
            Notifier::new(&towpath.reconciler, &site.pipelines, told)
        };
        self.notifiers = site.towpaths.iter().map(start).collect();
    }

    /// Every process is another one.
    async fn restart(&mut self) {
        self.teller.site.restart();
        self.tell("rounds\n").await;
        self.start();
    }

    /// Everybody tells what is to be told.
    async fn turn(&mut self) -> Vec<Option<Timestamp>> {
        let now = self.teller.site.now;
        let mut next = Vec::new();
        for notifier in &self.notifiers {
            next.push(notifier.turn(now).await);
        }
        next
    }

    fn pass(&mut self, seconds: u64) {
        self.teller.site.pass(Duration::from_secs(seconds));
    }

    fn pushes(&self) -> usize {
        self.teller.site.remote("production").calls(Call::Push)
    }

    fn ledger(&self) -> bool {
        let name = notified_ref(&"production".parse().unwrap());
        self.teller
            .site
            .remote("production")
            .refs()
            .contains_key(&name)
    }
}

fn keys(got: &[Message]) -> Vec<String> {
    let of = |(headers, body): &Message| {
        let key = headers["idempotency-key"].to_str().unwrap().to_owned();
        assert_eq!(body["id"], key.as_str());
        key
    };
    got.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_decided_is_told_once_and_in_order() {
    let (chat, ops) = (Ear::open().await, Ear::open().await);
    let told = vec![
        notification("chat", &chat, Occasion::ALL),
        notification("ops", &ops, [Occasion::Failed]),
    ];
    let mut stage = Stage::begin(told).await;
    assert!(stage.ledger(), "where it begins is written down");
    assert_eq!(chat.events(), [""; 0], "what was before is history");
    stage.tell(RELEASE).await;
    stage.turn().await;
    let got = chat.take();
    let events: Vec<&str> = got
        .iter()
        .map(|(_, it)| it["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["proposed", "healthy"]);
    let healthy = &got[1].1;
    for (field, value) in [
        ("notification", "chat"),
        ("environment", "production"),
        ("application", "shop"),
        ("text", "production: shop v1.1.0 is healthy (deployment 2)"),
    ] {
        assert_eq!(healthy[field], value);
    }
    assert_eq!(healthy["release"]["name"], "v1.1.0");
    assert_eq!(got[1].0["x-towpath-event"], "healthy");
    // Settled: nobody is told anything, and nothing is written.
    let pushes = stage.pushes();
    for _ in 0..3 {
        stage.turn().await;
        stage.pass(3600);
    }
    stage.restart().await;
    stage.turn().await;
    assert_eq!((chat.events().len(), ops.events().len()), (0, 0));
    assert_eq!(stage.pushes(), pushes);
    // What is told for the first time is told from now on.
    let mut late = notification("late", &ops, Occasion::ALL);
    late.environments = None;
    stage.told.push(late);
    stage.told[1].on = Occasion::ALL.into();
    stage.start();
    stage.turn().await;
    assert_eq!(ops.events(), [""; 0]);
    stage.tell("push shop v1.2.0\nwait 1m\n").await;
    stage.turn().await;
    assert_eq!(ops.events(), ["proposed", "proposed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_and_not_written_down_is_sent_again_under_the_same_key() {
    let chat = Ear::open().await;
    let mut stage = Stage::begin(vec![notification("chat", &chat, Occasion::ALL)]).await;
    stage.tell(RELEASE).await;
    let remote = stage.teller.site.remote("production").clone();
    remote.fail_next(Call::Push, Strike::Before, remote.cut());
    stage.turn().await;
    let first = keys(&chat.take());
    assert_eq!(first.len(), 2);
    // The same process knows what it sent.
    stage.pass(60);
    let pushes = stage.pushes();
    stage.turn().await;
    assert_eq!((chat.take().len(), stage.pushes()), (0, pushes + 1));
    stage
        .tell("push shop v1.2.0\nwait 1m\nmerge production\nwait 1m\n")
        .await;
    remote.fail_next(Call::Push, Strike::Before, remote.cut());
    stage.turn().await;
    let second = keys(&chat.take());
    // Another one does not: it sends the very same once more.
    stage.restart().await;
    stage.turn().await;
    assert_eq!(keys(&chat.take()), second);
    assert!(first.iter().all(|key| !second.contains(key)));
    stage.restart().await;
    stage.turn().await;
    assert_eq!(chat.take().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_towpaths_one_tells() {
    let chat = Ear::open().await;
    let mut stage = Stage::begin(vec![notification("chat", &chat, Occasion::ALL)]).await;
    stage.teller.site.start();
    stage.tell("rounds\n").await;
    stage.pace.others = Duration::from_secs(15);
    stage.start();
    stage.turn().await;
    stage.tell("push shop v1.1.0\nwait 1m\n").await;
    // Only one of them recorded the proposal; whoever did not leaves it to that one.
    stage.turn().await;
    assert_eq!(chat.events(), ["proposed"]);
    stage.pass(16);
    stage.turn().await;
    assert_eq!(chat.events(), [""; 0]);
    // What a person records, neither of them did: one tells it a little later.
    stage
        .tell("say production hold shop \"the fair\"\nrounds\n")
        .await;
    stage.turn().await;
    assert_eq!(chat.events(), [""; 0]);
    stage.pass(16);
    stage.turn().await;
    let got = chat.take();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].1["event"], "held");
    assert_eq!(got[0].1["reason"], "the fair");
    // Where one is gone, the other tells what it left.
    stage.tell("say production resume shop\nrounds\n").await;
    stage.teller.site.towpaths.remove(0);
    stage.notifiers.remove(0);
    stage.turn().await;
    stage.pass(16);
    stage.turn().await;
    assert_eq!(chat.events(), ["resumed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_is_told_later_and_keeps_nobody_waiting() {
    let (chat, ops) = (Ear::open().await, Ear::open().await);
    let told = vec![
        notification("chat", &chat, Occasion::ALL),
        notification("ops", &ops, Occasion::ALL),
    ];
    let mut stage = Stage::begin(told).await;
    chat.answers(503, None, 3);
    stage.tell(RELEASE).await;
    let mut next = stage.turn().await;
    assert_eq!(ops.events(), ["proposed", "healthy"]);
    for pause in [5, 10, 20] {
        assert_eq!(
            chat.events(),
            ["proposed"],
            "the first is tried before the second"
        );
        let chat_counts = stage.standings.counts()[&"chat".parse().unwrap()].clone();
        let (_, why) = chat_counts.failing.unwrap();
        assert_eq!(why, "503 Service Unavailable: said");
        let now = stage.teller.site.now;
        assert_eq!(next[0], Some(now + SignedDuration::from_secs(pause)));
        stage.turn().await;
        assert_eq!(chat.events(), [""; 0], "not before the pause is over");
        stage.pass(u64::try_from(pause).unwrap());
        if pause == 20 {
            // Another process begins where the first one was.
            stage.restart().await;
        }
        next = stage.turn().await;
    }
    assert_eq!(chat.events(), ["proposed", "healthy"]);
    let counts = stage.standings.counts();
    let chat_counts = &counts[&"chat".parse().unwrap()];
    assert_eq!((chat_counts.sent, chat_counts.failed), (2, 3));
    assert_eq!(chat_counts.failing, None);
    assert_eq!(ops.events(), [""; 0]);
    // It says how long it wants to be left alone.
    chat.answers(429, Some("120"), 1);
    stage.tell("push shop v1.2.0\nwait 1m\n").await;
    let next = stage.turn().await;
    let now = stage.teller.site.now;
    assert_eq!(next[0], Some(now + SignedDuration::from_secs(120)));
    chat.take();
    stage.pass(119);
    stage.turn().await;
    assert_eq!(chat.events(), [""; 0]);
    stage.pass(1);
    stage.turn().await;
    assert_eq!(chat.events(), ["proposed"]);
    // One that it does not want does not stand in the way of the next for ever.
    chat.answers(400, None, 3);
    stage
        .tell("merge production\nwait 1m\npush shop v1.3.0\nwait 1m\n")
        .await;
    for _ in 0..3 {
        stage.turn().await;
        stage.pass(600);
    }
    assert_eq!(chat.events(), ["healthy", "healthy", "healthy", "proposed"]);
    let counts = stage.standings.counts();
    assert_eq!(counts[&"chat".parse().unwrap()].refused, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_long_is_told_once() {
    let chat = Ear::open().await;
    let mut stage = Stage::begin(vec![notification("chat", &chat, [Occasion::Stuck])]).await;
    stage.tell("push shop v1.1.0\nwait 29m\n").await;
    stage.turn().await;
    assert_eq!(chat.events(), [""; 0]);
    stage.tell("wait 2m\n").await;
    stage.turn().await;
    let got = chat.take();
    assert_eq!(got.len(), 1);
    let text = got[0].1["text"].as_str().unwrap();
    assert!(text.contains("waits for a person to merge"), "{text}");
    assert!(text.contains("what unblocks it: "), "{text}");
    for _ in 0..2 {
        stage.tell("wait 2h\n").await;
        stage.turn().await;
        stage.restart().await;
        stage.turn().await;
    }
    assert_eq!(chat.events(), [""; 0]);
    // Merged, and then another one waits: that is told again, under another key.
    stage.tell("merge production\nwait 1m\n").await;
    stage.turn().await;
    stage.tell("push shop v1.2.0\nwait 40m\n").await;
    stage.turn().await;
    let again = chat.take();
    assert_eq!(again.len(), 1);
    assert_ne!(keys(&again), keys(&got));
}

/// The program itself, with a server of git's own: where it begins is written down there, and a test says what is
/// the matter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_begins_and_tests() {
    let (ear, chat) = (Ear::open().await, Ear::open().await);
    let site = looks::Site::start("site", &[]).await;
    site.commit("first");
    std::fs::write(site.path("environments/address"), &ear.url).unwrap();
    std::fs::write(site.path("environments/secret"), format!("{SECRET}\n")).unwrap();
    let settings = |allow: &str| {
        let text = format!(
            "outward: {{ allow: [{allow}] }}\n\
             notifications:\n\
             - {{ name: ops, webhook: {{ url: {{ file: address }}, secret: {{ file: secret }} }} }}\n\
             - {{ name: chat, slack: {{ url: '{}' }}, template: '<!here> {{event}}' }}\n",
            chat.url
        );
        std::fs::write(site.path("environments/towpath.yaml"), text).unwrap();
    };
    settings("");
    site.run(&["notify", "--test", "ops"], 1);
    site.run(&["notify", "--test", "opps"], 1);
    settings("loopback");
    assert_eq!(site.run(&["notify", "--test", "ops"], 0), "ops took it\n");
    site.run(&["notify", "--test", "chat"], 0);
    let [(headers, body)] = &ear.take()[..] else {
        panic!("one message was sent");
    };
    assert!(headers.contains_key("x-towpath-signature-256"));
    assert_eq!(body["event"], "test");
    let text = chat.take()[0].1["text"].as_str().unwrap().to_owned();
    assert_eq!(text, "Towpath can tell chat of news.");
    ear.answers(403, None, 1);
    site.run(&["notify", "--test", "ops"], 1);
    site.run(&["run", "--once", "--wait", "20s", "--only", "qa"], 0);
    let ledger = "refs/towpath/notified/qa:notified.json";
    let shown = tokio::process::Command::new("git")
        .args(["-C", "infra.git", "show", ledger])
        .current_dir(site.path("."))
        .output()
        .await
        .unwrap();
    let ledger: Value = serde_json::from_slice(&shown.stdout).unwrap();
    for name in ["chat", "ops"] {
        let on = ledger["notifications"][name]["on"].as_object().unwrap();
        assert_eq!(on.len(), Occasion::ALL.len(), "{ledger}");
    }
}
