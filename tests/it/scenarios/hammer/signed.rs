//! The same where the environments list keys: who stops counts whoever it is, who lets something move counts by their
//! key alone. What counts is told here by other code than the product's, commit by commit of the records' ref.

use std::collections::{BTreeMap, BTreeSet};

use towpath::git::notes::{read_note, read_standing, read_unit, verify};
use towpath::git::{Commit, Repository};
use towpath::model::record::{Record, Standing, Statement, TOWPATH, UnitRecords};
use towpath::model::{CommitId, EnvironmentName, PublicKey};

use super::super::show;
use super::checks::{changed, commits, respected};
use super::{Cast, Operator, ending, hammered, rounds};

/// Each push is signed by a program of its own.
const ROUNDS: usize = 60;

const STORY: &str = "
settings
    commit: { sign: { ssh: { file: $fixtures/keys/towpath } } }
applications
    applications:
      - name: shop
        images: [ { repository: registry.example.com/acme/shop, release-tag: '{tag}' } ]
        environments: [qa, production]
config qa
    cluster: { simulated: { ready-after: 2s } }
    authority: AUTHORITY
config production
    cluster: { simulated: { ready-after: 2s } }
    follow: { environment: qa, soak: 5s }
    authority: AUTHORITY
begin
";

/// So many words without effect are told of one by one at a time, the others together.
const TOLD_MAX: usize = 20;

/// Whose key may what beyond stopping; the stranger's is nowhere listed.
const MAY: [(&str, &[&str]); 3] = [
    ("towpath", &["record"]),
    ("ann", &["resume", "roll-back", "promote"]),
    ("bob", &["resume", "promote"]),
];

fn public(name: &str) -> String {
    let path = format!("{}/fixtures/keys/{name}.pub", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_keys_are_listed_nothing_is_lost_and_nothing_moves_without_one() {
    let listed = MAY.map(|(name, may)| {
        let who = match name {
            TOWPATH => name.to_owned(),
            person => format!("{person}@example.com"),
        };
        let (key, may) = (public(name), may.join(", "));
        format!("{{ who: {who}, key: {key}, may: [{may}] }}")
    });
    let story = STORY.replace("AUTHORITY", &format!("[{}]", listed.join(", ")));
    let cast = [
        ("ann", "ann", true),
        ("bob", "bob", true),
        ("eve", "stranger", false),
    ];
    let cast = cast.map(|(name, key, merges)| Cast {
        name,
        key: Some(key),
        merges,
    });
    let rounds = rounds("TOWPATH_SIGNED_ROUNDS", ROUNDS);
    let (mut teller, operators) = hammered(&story, &cast, rounds).await;
    for environment in ["qa", "production"] {
        let name: EnvironmentName = environment.parse().unwrap();
        let mirror = show::mirror(teller.site.remote(environment)).await;
        let history = History::read(&mirror, &name);
        history.nothing_is_lost(&operators, &name);
        respected(&history.counted, environment == "production");
        let tree = commits(&mirror, &name).last().unwrap().tree;
        assert_eq!(verify(&mirror, &name, tree).unwrap().wrong, [""; 0]);
    }
    ending::check(&mut teller.site).await;
}

/// What the records' ref tells, read from its beginning.
struct History<'a> {
    mirror: &'a Repository,
    keys: BTreeMap<&'static str, PublicKey>,
    /// Each note as Towpath signed it last.
    accepted: BTreeMap<CommitId, Vec<Record>>,
    /// What others put there since, and whether it counts.
    waiting: Vec<(Record, bool)>,
    /// What counted, in the order in which it did.
    counted: Vec<Record>,
    /// What had no effect, as it was told.
    refused: Vec<String>,
    unit: UnitRecords,
    standing: Standing,
}

impl<'a> History<'a> {
    fn read(mirror: &'a Repository, environment: &EnvironmentName) -> Self {
        let names = ["towpath", "ann", "bob", "stranger"];
        let mut history = Self {
            mirror,
            keys: names.map(|it| (it, public(it).parse().unwrap())).into(),
            accepted: BTreeMap::new(),
            waiting: Vec::new(),
            counted: Vec::new(),
            refused: Vec::new(),
            unit: UnitRecords::default(),
            standing: Standing::default(),
        };
        let (mut before, mut signed) = (None, None);
        for commit in commits(mirror, environment) {
            match history.signer(&commit) {
                Some(TOWPATH) => {
                    let mut notes = changed(mirror, signed, commit.tree);
                    notes.extend(history.waiting.iter().map(|(record, _)| record.commit));
                    history.accept(&commit, &notes.into_iter().collect());
                    signed = Some(commit.tree);
                }
                signer => {
                    for about in changed(mirror, before, commit.tree) {
                        history.hear(&commit, before, about, signer);
                    }
                }
            }
            before = Some(commit.tree);
        }
        history.judge_the_rest();
        history
    }

    fn signer(&self, commit: &Commit) -> Option<&'static str> {
        let key = self.mirror.signer_of(commit.id);
        let known = self
            .keys
            .iter()
            .find(|(_, known)| key.as_ref() == Some(known));
        known.map(|(name, _)| *name)
    }

    /// Somebody else than Towpath added to a note.
    fn hear(
        &mut self,
        commit: &Commit,
        before: Option<gix::ObjectId>,
        about: CommitId,
        signer: Option<&str>,
    ) {
        let old = before.map_or_else(Vec::new, |tree| {
            read_note(self.mirror, tree, about).unwrap()
        });
        let now = read_note(self.mirror, commit.tree, about).unwrap();
        assert!(now.starts_with(&old), "{} takes records away", commit.id);
        for record in now.into_iter().skip(old.len()) {
            let counts = counts(&record, signer);
            self.waiting.push((record, counts));
        }
    }

    /// Towpath signed what counts, and told of what does not.
    fn accept(&mut self, commit: &Commit, notes: &BTreeSet<CommitId>) {
        let mut added = BTreeMap::new();
        for about in notes {
            let now = read_note(self.mirror, commit.tree, *about).unwrap();
            let old = self
                .accepted
                .insert(*about, now.clone())
                .unwrap_or_default();
            assert!(now.starts_with(&old), "records of {about} are gone");
            added.insert(*about, now[old.len()..].to_vec());
        }
        let (mut told, mut untold) = (0, Vec::new());
        for (said, counts) in std::mem::take(&mut self.waiting) {
            told += usize::from(!counts);
            if !counts && told > TOLD_MAX {
                untold.push(said);
                continue;
            }
            let added = added.get_mut(&said.commit).unwrap();
            let place = added.iter().position(|record| match counts {
                true => *record == said,
                false => tells_of(record, "", &said),
            });
            let shown = show::record(&said);
            let place = place.unwrap_or_else(|| panic!("{shown}: is lost (it counts: {counts})"));
            match added.remove(place) {
                Record {
                    statement: Statement::Refused { said, .. },
                    ..
                } => self.refused.push(said),
                record => self.count(record),
            }
        }
        if let Some(last) = untold.last() {
            let together = format!("{} more, the last of them: ", untold.len());
            let added = added.get_mut(&last.commit).unwrap();
            let place = added.iter().position(|it| tells_of(it, &together, last));
            let shown = show::record(last);
            added.remove(place.unwrap_or_else(|| panic!("{together}{shown}: is not told")));
        }
        let untold = untold.iter().map(|it| format!("{} (", it.statement));
        self.refused.extend(untold);
        for record in added.into_values().flatten() {
            // In the end somebody lifts everything, with Towpath's own key.
            let lifted = matches!(&record.statement,
                Statement::Resumed { reason } | Statement::Thawed { reason } if reason == "resumed" || reason == "thawed");
            let shown = show::record(&record);
            assert!(record.by == TOWPATH || lifted, "nobody said so: {shown}");
            self.count(record);
        }
        self.is_as_counted(commit);
    }

    /// What nobody accepted yet counts as it is.
    fn judge_the_rest(&mut self) {
        for (record, counts) in std::mem::take(&mut self.waiting) {
            match counts {
                true => self.count(record),
                false => self.refused.push(format!("{} (", record.statement)),
            }
        }
    }

    fn count(&mut self, record: Record) {
        if record.application.is_some() {
            self.unit.take(record.clone());
        }
        self.standing.take(&record);
        self.counted.push(record);
    }

    /// What is said to be true now is what was said by whoever may.
    fn is_as_counted(&self, commit: &Commit) {
        let unit = read_unit(self.mirror, commit.tree, &"shop".parse().unwrap()).unwrap();
        let standing = read_standing(self.mirror, commit.tree).unwrap();
        let id = commit.id;
        assert_eq!(unit.hold, self.unit.hold, "{id}");
        assert_eq!(unit.pin, self.unit.pin, "{id}");
        assert_eq!(unit.promotion, self.unit.promotion, "{id}");
        assert_eq!(standing.hold, self.standing.hold, "{id}");
        assert_eq!(standing.freeze, self.standing.freeze, "{id}");
    }

    /// Every word that was taken counted, or was told to have no effect; and there were such of each kind.
    fn nothing_is_lost(&self, operators: &[Operator], environment: &EnvironmentName) {
        let reasons: BTreeSet<&str> = self.counted.iter().filter_map(reason).collect();
        for operator in operators {
            let (mut counted, mut refused) = (0, 0);
            for (_, word) in operator.taken.iter().filter(|(at, _)| at == environment) {
                let told = format!(": {word} (");
                match reasons.contains(word.as_str()) {
                    true => counted += 1,
                    false if self.refused.iter().any(|it| it.contains(&told)) => refused += 1,
                    false => panic!("`{word}` in {environment} is lost"),
                }
            }
            let is_listed = MAY.iter().any(|(name, _)| *name == operator.name);
            assert!(counted > 0, "nothing of {} counted", operator.name);
            assert!(is_listed || refused > 0, "all of {} counted", operator.name);
        }
    }
}

/// Whether what was signed with that key counts.
fn counts(record: &Record, signer: Option<&str>) -> bool {
    let right = match &record.statement {
        // Nobody here says until when, so that none of them ends another one sooner.
        Statement::Held { .. } | Statement::Frozen { .. } => return true,
        Statement::Resumed { .. }
        | Statement::Thawed { .. }
        | Statement::Unpinned { .. }
        | Statement::Retried { .. } => "resume",
        Statement::Pinned { .. } | Statement::Withdrawn { proposal: None, .. } => "roll-back",
        Statement::Promoted(_) => "promote",
        _ => panic!("nobody says so: {}", show::record(record)),
    };
    let own = |name: &str| record.by == format!("{name}@example.com");
    let may = MAY
        .iter()
        .find(|(name, _)| Some(*name) == signer && own(name));
    may.is_some_and(|(_, may)| may.contains(&right))
}

/// Whether Towpath tells, in words that begin so, that what somebody said has no effect.
fn tells_of(record: &Record, began: &str, said: &Record) -> bool {
    let began = format!("{began}{} said: {} (", said.by, said.statement);
    match &record.statement {
        Statement::Refused { said, .. } => record.by == TOWPATH && said.starts_with(&began),
        _ => false,
    }
}

/// Why somebody said what they said.
fn reason(record: &Record) -> Option<&str> {
    match &record.statement {
        Statement::Held { reason, .. }
        | Statement::Resumed { reason }
        | Statement::Pinned { reason, .. }
        | Statement::Unpinned { reason }
        | Statement::Frozen { reason, .. }
        | Statement::Thawed { reason } => Some(reason),
        Statement::Promoted(promoted) => Some(&promoted.reason),
        _ => None,
    }
}
