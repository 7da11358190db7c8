//! A symbolic link in an infra repository, which no Towpath writes: made of raw git objects.

use bytes::Bytes;
use gix::ObjectId;
use jiff::Timestamp;
use towpath::git::memory::MemoryRemote;
use towpath::git::{CommitDraft, Draft, Kind, Object, Push, Signature};
use towpath::model::CommitId;

use super::show;

/// Commits a link at a path of two names.
pub(super) async fn put(
    remote: &MemoryRemote,
    branch: &str,
    path: &str,
    target: &str,
    now: Timestamp,
) {
    let (directory, name) = path.split_once('/').unwrap();
    let mirror = show::mirror(remote).await;
    let reference = format!("refs/heads/{branch}");
    let head = mirror.seen()[&reference].id;
    let mut draft = mirror.draft();
    let tree = mirror.commit(CommitId(head)).unwrap().tree;
    let tree = draft.put(Some(tree), path, target.to_owned()).unwrap();
    let file = draft.lookup(tree, directory).unwrap().unwrap().id;
    let (before, after) = (format!("100644 {name}\0"), format!("120000 {name}\0"));
    let linked = replaced(&mut draft, file, before.as_bytes(), after.as_bytes());
    let tree = replaced(&mut draft, tree, file.as_slice(), linked.as_slice());
    let author = Signature {
        name: "Ann".to_owned(),
        email: "ann@example.com".to_owned(),
        time: now,
    };
    let commit = draft.commit(&CommitDraft {
        tree,
        parents: vec![CommitId(head)],
        author: author.clone(),
        committer: author,
        message: format!("link {path}\n"),
    });
    let push = Push::new().update(reference, Some(head), commit.0);
    mirror.push(push.with(&draft).unwrap()).await.unwrap();
}

/// A directory with other bytes of the same length in one place.
fn replaced(draft: &mut Draft, tree: ObjectId, before: &[u8], after: &[u8]) -> ObjectId {
    let mut data = draft.object(tree).unwrap().data.to_vec();
    let mut windows = data.windows(before.len());
    let at = windows.position(|window| window == before).unwrap();
    data[at..at + after.len()].copy_from_slice(after);
    draft.add(Object::new(Kind::Tree, Bytes::from(data)))
}
