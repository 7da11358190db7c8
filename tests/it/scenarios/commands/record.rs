//! What people record, and what becomes of records.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use towpath::git::notes::{self, NotesDraft, records_ref};
use towpath::git::{CommitDraft, Push, Pushed, Repository, Signature, Signer};
use towpath::model::record::{Record, Statement};
use towpath::model::{
    ApplicationName, Author, CommitId, Credential, Digest, EnvironmentName, Finding, SigningKey,
};
use towpath::plan::{Person, Promote, Scope, Step, Stop};
use towpath::reconcile::Reconciler;
use towpath::registry::Attached;

use super::super::show;
use super::super::site::Site;
use super::Teller;

/// Who does in the repositories what people do there.
const ANN: &str = "ann@example.com";

fn ann_herself() -> Author {
    Author {
        name: "Ann".to_owned(),
        email: ANN.to_owned(),
    }
}

/// `v1.1.0 --unproven --during-freeze --not-before 2h`.
fn promotion<'a>(words: &[&'a str], now: Timestamp) -> Promote<'a> {
    let mut asked = Promote {
        release: None,
        reason: "it is wanted",
        unproven: false,
        hotfix: false,
        during_freeze: false,
        not_before: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--unproven" => asked.unproven = true,
            "--during-freeze" => asked.during_freeze = true,
            "--not-before" => {
                let after: SignedDuration = words.next().unwrap().parse().unwrap();
                asked.not_before = now.checked_add(after).ok();
            }
            release => asked.release = Some(release),
        }
    }
    asked
}

/// Who commits it.
fn ann(now: Timestamp) -> Signature {
    Signature {
        name: "Ann".to_owned(),
        email: ANN.to_owned(),
        time: now,
    }
}

/// The key of that name among the fixtures.
pub(in super::super) fn signer(name: &str) -> Arc<Signer> {
    let path = format!("{}/fixtures/keys/{name}", env!("CARGO_MANIFEST_DIR"));
    let path = path.into();
    let key = Credential::File { path, user: None };
    Arc::new(Signer::new(SigningKey::Ssh(key)))
}

/// The image of a release of one.
fn digest(site: &Site, application: &str, tag: &str) -> Digest {
    let repository = super::images(site, application).remove(0);
    site.registry.digest(&repository, tag).unwrap()
}

fn finding(name: &str, result: &str, scores: &[&str]) -> Finding {
    let score = |it: &&str| {
        let (name, score) = it.split_once('=').unwrap();
        (name.parse().unwrap(), score.parse().unwrap())
    };
    Finding {
        name: name.parse().unwrap(),
        result: result.parse().unwrap(),
        scores: scores.iter().map(score).collect(),
        link: Some("https://ci.example.com/7".parse().unwrap()),
    }
}

/// Signs a document as CI does, with a key among the fixtures.
async fn sign_evidence(key: &str, document: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evidence.json");
    std::fs::write(&file, document).unwrap();
    let (fixture, key) = (
        format!("{}/fixtures/keys/{key}", env!("CARGO_MANIFEST_DIR")),
        folder.path().join("key"),
    );
    std::fs::copy(fixture, &key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let signed = tokio::process::Command::new("ssh-keygen")
        .args(["-Y", "sign", "-q", "-n", "towpath-evidence", "-f"])
        .args([&key, &file])
        .kill_on_drop(true)
        .output();
    let signed = signed.await.unwrap();
    assert!(signed.status.success(), "{signed:?}");
    std::fs::read_to_string(folder.path().join("evidence.json.sig")).unwrap()
}

impl Teller {
    /// People's records.
    pub(super) async fn record(&mut self, words: &[&str]) -> bool {
        let now = self.site.now;
        match words {
            ["say", environment, what, rest @ ..] => self.say(environment, what, rest).await,
            // Who says it from here on.
            ["as", who] => self.site.person = format!("{who}@example.com"),
            // Whose key signs what is said from here on.
            ["key", name] => self.site.key = Some((*name).to_owned()),
            ["sign-records", environment] => self.sign_records(environment).await,
            ["tamper-records", environment, application] => {
                self.tamper(environment, application).await;
            }
            ["approve", environment, application, number] => {
                let number = number.parse().unwrap();
                self.ask(environment, application, |it| it.approve_prune(number))
                    .await;
            }
            ["adopt", environment, application] => {
                self.ask(environment, application, |it| it.approve_adoption())
                    .await;
            }
            ["hold-until", environment, application, until, reason] => {
                let until: SignedDuration = until.parse().unwrap();
                let stop = Stop {
                    reason: (*reason).to_owned(),
                    until: now.checked_add(until).ok(),
                };
                self.ask(environment, application, |it| it.hold(Scope::Unit, &stop))
                    .await;
            }
            ["freeze", environment, reason, until @ ..] => {
                let until = until
                    .first()
                    .map(|it| it.parse::<SignedDuration>().unwrap());
                let stop = Stop {
                    reason: (*reason).to_owned(),
                    until: until.and_then(|it| now.checked_add(it).ok()),
                };
                self.ask(environment, "shop", |it| it.freeze(&stop)).await;
            }
            ["thaw", environment] => {
                self.ask(environment, "shop", |it| it.thaw("it is over"))
                    .await;
            }
            ["merge-proposal", environment, application, release @ ..] => {
                let (ann, release) = (ann_herself(), release.first().copied());
                self.ask(environment, application, |it| it.merge(release, &ann))
                    .await;
            }
            ["rehearse", environment, application, what, rest @ ..] => {
                let (asked, to) = (promotion(rest, now), rest.first().copied());
                let stop = Stop {
                    reason: "it leaks".to_owned(),
                    until: None,
                };
                let ann = ann_herself();
                let say = |it: &Person<'_>| match *what {
                    "promote" => it.promote(asked),
                    "rollback" => it.roll_back(to, "it leaks"),
                    "hold" => it.hold(Scope::Unit, &stop),
                    "decline" => it.decline(),
                    "merge" => it.merge(to, &ann),
                    other => panic!("nobody says `{other}`"),
                };
                self.rehearse(environment, application, say).await;
            }
            ["resume", environment, application] => {
                self.ask(environment, application, |it| {
                    it.resume(Scope::Unit, "resumed")
                })
                .await;
            }
            ["resume-all", environment, application] => {
                self.ask(environment, application, |it| {
                    it.resume(Scope::Unit, "resumed")
                })
                .await;
                self.ask(environment, application, |it| {
                    it.resume(Scope::Environment, "resumed")
                })
                .await;
                self.ask(environment, application, |it| it.thaw("thawed"))
                    .await;
            }
            ["rollback", environment, application, to @ ..] => {
                let to = to.first().copied();
                let back = |it: &Person<'_>| it.roll_back(to, "it leaks");
                if self.has_images(environment, application, back).await {
                    self.ask(environment, application, back).await;
                }
            }
            ["promote", environment, application, rest @ ..] => {
                let asked = promotion(rest, now);
                let promote = |it: &Person<'_>| it.promote(asked);
                if self.has_images(environment, application, promote).await {
                    self.ask(environment, application, promote).await;
                }
            }
            ["hotfix", environment, application, release] => {
                let asked = Promote {
                    hotfix: true,
                    ..promotion(&[release], now)
                };
                self.ask(environment, application, |it| it.promote(asked))
                    .await;
                if self.answer.is_empty() {
                    let target = environment.parse().unwrap();
                    let prove = |it: &Person<'_>| it.prove_for(&target, release, "it is urgent");
                    self.ask("qa", application, prove).await;
                }
            }
            // `evidence production shop v1.1.0 scan pass critical=0`
            [
                "evidence",
                environment,
                application,
                tag,
                name,
                result,
                scores @ ..,
            ] => {
                let digest = digest(&self.site, application, tag);
                let finding = finding(name, result, scores);
                self.ask(environment, application, |it| it.found(&digest, &finding))
                    .await;
            }
            // `attach shop v1.1.0 scan pass critical=0`, `attach-signed ann …`
            ["attach", application, tag, name, result, scores @ ..] => {
                self.attach(None, application, tag, &finding(name, result, scores))
                    .await;
            }
            [
                "attach-signed",
                key,
                application,
                tag,
                name,
                result,
                scores @ ..,
            ] => {
                self.attach(Some(key), application, tag, &finding(name, result, scores))
                    .await;
            }
            // `answers shop v1.1.0 scan pass critical=0`, `answers shop v1.1.0 503`: of `https://scans.example.com/{digest}`
            ["answers", application, tag, answer @ ..] => self.answers(application, tag, answer),
            ["unpin", environment, application] => {
                self.ask(environment, application, |it| it.unpin("mended"))
                    .await;
            }
            ["retry", environment, application, release @ ..] => {
                let release = release.first().copied();
                self.ask(environment, application, |it| it.retry(release))
                    .await;
            }
            ["decline-proposal", environment, application] => {
                self.ask(environment, application, |it| it.decline()).await;
            }
            ["rewrite-records", environment, count] => {
                let name = records_ref(&environment.parse().unwrap());
                let mirror = show::mirror(self.site.remote(environment)).await;
                let head = CommitId(mirror.seen()[&name].id);
                let mut back = head;
                for _ in 0..count.parse().unwrap() {
                    back = mirror.commit(back).unwrap().parents[0];
                }
                force_ref(&self.site, environment, &name, Some(back)).await;
                self.site
                    .labels
                    .insert("records".to_owned(), head.to_string());
            }
            ["restore-records", environment, id] => {
                let name = records_ref(&environment.parse().unwrap());
                force_ref(&self.site, environment, &name, Some(id.parse().unwrap())).await;
            }
            ["scribble-records", environment] => self.scribble(environment).await,
            ["forget-records", environment] => {
                let name = records_ref(&environment.parse().unwrap());
                let head = self.site.remote(environment).refs()[&name].id;
                self.site
                    .labels
                    .insert("records".to_owned(), head.to_string());
                force_ref(&self.site, environment, &name, None).await;
            }
            _ => return false,
        }
        true
    }

    /// Attaches evidence to the image of a release, in the registry.
    async fn attach(&self, key: Option<&str>, application: &str, tag: &str, finding: &Finding) {
        let digest = digest(&self.site, application, tag);
        let document = self.document(&digest, finding);
        let signature = match key {
            Some(key) => Some(sign_evidence(key, &document).await),
            None => None,
        };
        let evidence = Attached {
            document,
            signature,
        };
        self.site.registry.attach(digest, evidence);
    }

    /// An endpoint's answer about the image of a release.
    fn answers(&self, application: &str, tag: &str, answer: &[&str]) {
        let digest = digest(&self.site, application, tag);
        let address = format!("https://scans.example.com/{digest}");
        let (status, body) = match answer {
            [name, result, scores @ ..] => {
                let document = self.document(&digest, &finding(name, result, scores));
                (200, String::from_utf8(document).unwrap())
            }
            [status] => (status.parse().unwrap(), "{}".to_owned()),
            [] => panic!("what is answered?"),
        };
        self.site.endpoints.answer(&address, status, &body);
    }

    fn document(&self, digest: &Digest, finding: &Finding) -> Vec<u8> {
        let scores = finding.scores.iter();
        let scores: serde_json::Map<_, _> = scores
            .map(|(name, score)| (name.to_string(), (*score).into()))
            .collect();
        let document = serde_json::json!({
            "name": finding.name.to_string(),
            "digest": digest.to_string(),
            "result": finding.result.as_str(),
            "scores": scores,
            "at": self.site.now.to_string(),
        });
        document.to_string().into_bytes()
    }

    /// Who is asked about which unit.
    fn asked(
        &self,
        environment: &str,
        application: &str,
    ) -> (Arc<Reconciler>, EnvironmentName, ApplicationName) {
        let reconciler = self.site.towpaths[0].reconciler.clone();
        let (environment, application) = (environment.parse(), application.parse());
        (reconciler, environment.unwrap(), application.unwrap())
    }

    /// A person's yes, as the commands write it.
    pub(super) async fn ask(
        &mut self,
        environment: &str,
        application: &str,
        say: impl Fn(&Person<'_>) -> Result<Step, String>,
    ) {
        let (reconciler, environment, application) = self.asked(environment, application);
        let said = reconciler
            .say(
                &application,
                &environment,
                &self.site.person,
                say,
                self.site.now,
            )
            .await;
        // Seconds are what the output counts in.
        self.site.pass(Duration::from_secs(1));
        if let Err(why) = said {
            self.answer.push_str(&format!("  no: {why}\n"));
        }
    }

    /// Whether what is chosen can be had; says what cannot be told.
    async fn has_images(
        &mut self,
        environment: &str,
        application: &str,
        say: impl Fn(&Person<'_>) -> Result<Step, String>,
    ) -> bool {
        let (reconciler, environment, application) = self.asked(environment, application);
        let asked = reconciler.has_images(
            &application,
            &environment,
            &self.site.person,
            say,
            self.site.now,
        );
        let (warnings, gone) = match asked.await {
            Ok(unknown) => (unknown, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let lines = warnings.iter().map(|it| format!("  warning: {it}\n"));
        self.answer = lines
            .chain(gone.iter().map(|it| format!("  no: {it}\n")))
            .collect();
        self.answer = show::short(&self.answer);
        gone.is_none()
    }

    /// What would be written, as `--dry-run` shows it.
    async fn rehearse(
        &mut self,
        environment: &str,
        application: &str,
        say: impl Fn(&Person<'_>) -> Result<Step, String>,
    ) {
        let (reconciler, environment, application) = self.asked(environment, application);
        let now = self.site.now;
        let rehearsed = reconciler.rehearse(
            &application,
            &environment,
            &self.site.person,
            say,
            true,
            now,
        );
        self.answer = match rehearsed.await {
            Err(why) => format!("  no: {why}\n"),
            Ok((rehearsal, next)) => show::rehearsal(&rehearsal, next.as_ref()),
        };
    }

    /// A person's own record: hold, resume, pin, unpin, retry.
    pub(super) async fn say(&self, environment: &str, what: &str, rest: &[&str]) {
        let reason = rest.last().map(|it| (*it).to_owned()).unwrap_or_default();
        let application = match rest {
            [application, _] => Some(*application),
            _ => None,
        };
        let statement = match what {
            "hold" => Statement::Held {
                reason,
                until: None,
            },
            "resume" => Statement::Resumed { reason },
            "unpin" => Statement::Unpinned { reason },
            "retry" => {
                let records =
                    show::records(self.site.remote(environment), &environment.parse().unwrap())
                        .await;
                let mut releases = records.iter().filter_map(|record| match &record.statement {
                    Statement::Deployment {
                        release: Some(release),
                        ..
                    }
                    | Statement::Proposed { release, .. } => Some(release.clone()),
                    _ => None,
                });
                let release = releases.find(|release| release.name == reason).unwrap();
                Statement::Retried { release }
            }
            // `say production evidence shop "v1.1.0 scan pass critical=0"`
            "evidence" => {
                let words: Vec<&str> = reason.split(' ').collect();
                Statement::Evidence {
                    digest: digest(&self.site, application.unwrap(), words[0]),
                    finding: finding(words[1], words[2], &words[3..]),
                }
            }
            other => panic!("nobody says `{other}`"),
        };
        let name: EnvironmentName = environment.parse().unwrap();
        let mirror = show::mirror(self.site.remote(environment)).await;
        let mirror = mirror.signing(self.site.key.as_deref().map(signer));
        let held = mirror.seen().get(&records_ref(&name)).map(|held| held.id);
        let tree = held.map(|held| mirror.commit(CommitId(held)).unwrap().tree);
        let mut draft = mirror.draft();
        let mut notes = NotesDraft::begin(&draft, held.map(CommitId), tree).unwrap();
        let record = Record {
            at: self.site.now,
            environment: name.clone(),
            application: application.map(|it| it.parse().unwrap()),
            by: self.site.person.clone(),
            commit: self
                .site
                .person(environment)
                .head(&self.branch(environment))
                .unwrap(),
            statement,
        };
        notes.add(&draft, vec![record]).unwrap();
        let author = ann(self.site.now);
        let commit = notes.commit(&mut draft, &author).unwrap();
        let commit = mirror.sign(&mut draft, commit).await.unwrap();
        let push = Push::new().update(records_ref(&name), held, commit.0);
        mirror.push(push.with(&draft).unwrap()).await.unwrap();
    }

    /// Signs the records as they are.
    async fn sign_records(&self, environment: &str) {
        let mirror = show::mirror(self.site.remote(environment)).await;
        let mirror = mirror.signing(self.site.key.as_deref().map(signer));
        let author = ann(self.site.now);
        let signed = notes::sign(&mirror, &environment.parse().unwrap(), &author).await;
        assert_eq!(signed.unwrap(), Some(Pushed::Landed));
    }

    /// Takes out of the records what they say of a unit now, and every note.
    async fn tamper(&self, environment: &str, application: &str) {
        let name = records_ref(&environment.parse().unwrap());
        let mirror = show::mirror(self.site.remote(environment)).await;
        let head = CommitId(mirror.seen()[&name].id);
        let tree = mirror.commit(head).unwrap().tree;
        let mut draft = mirror.draft();
        let present = format!("present/applications/{application}");
        let files = mirror.changed(None, Some(tree)).unwrap();
        let notes = files.into_iter().map(|file| file.path);
        let notes = notes.filter(|path| !path.starts_with("present/"));
        let edits = notes.chain([present]).map(|path| (path, None));
        let tree = draft.edit(Some(tree), edits).unwrap();
        let author = ann(self.site.now);
        let commit = draft.commit(&CommitDraft {
            tree,
            parents: vec![head],
            author: author.clone(),
            committer: author,
            message: "nothing happened\n".to_owned(),
        });
        let push = Push::new().update(name, Some(head.0), commit.0);
        mirror.push(push.with(&draft).unwrap()).await.unwrap();
    }

    /// A line that this version cannot read, as a newer Towpath would write it.
    pub(super) async fn scribble(&self, environment: &str) {
        let name = records_ref(&environment.parse().unwrap());
        let mirror = show::mirror(self.site.remote(environment)).await;
        let head = mirror.seen()[&name].id;
        let mut draft = mirror.draft();
        let tree = mirror.commit(CommitId(head)).unwrap().tree;
        let line = "{\"v\":2,\"record\":\"verdict\"}\n";
        let tree = draft
            .put(Some(tree), "present/applications/shop", line)
            .unwrap();
        let author = towpath::git::Signature {
            name: "Towpath".to_owned(),
            email: "towpath@example.com".to_owned(),
            time: self.site.now,
        };
        let commit = draft.commit(&towpath::git::CommitDraft {
            tree,
            parents: vec![CommitId(head)],
            author: author.clone(),
            committer: author,
            message: "of a newer version\n".to_owned(),
        });
        let push = Push::new().update(name, Some(head), commit.0);
        mirror.push(push.with(&draft).unwrap()).await.unwrap();
    }
}

pub(super) async fn force_ref(site: &Site, environment: &str, name: &str, to: Option<CommitId>) {
    let mirror: Repository = show::mirror(site.remote(environment)).await;
    let held = mirror.seen().get(name).map(|held| held.id);
    let push = match (to, held) {
        (Some(to), held) => Push::new().update(name, held, to.0),
        (None, Some(held)) => Push::new().delete(name, held),
        (None, None) => return,
    };
    mirror.push(push).await.unwrap();
}
