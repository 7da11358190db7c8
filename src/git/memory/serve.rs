//! Which objects an in-memory server hands out: what upload-pack does, on a small scale.

use std::collections::{BTreeMap, HashSet, VecDeque};

use gix::ObjectId;

use crate::git::objects::Objects;
use crate::git::remote::{Depth, FetchRequest, Fetched, Filter, Received};
use crate::git::{Commit, GitError, Kind, Mode, Object, Tag};

pub(super) fn serve(
    objects: &Objects,
    request: &FetchRequest,
    can_filter: bool,
) -> Result<Fetched, GitError> {
    let shallow: HashSet<ObjectId> = request.shallow.iter().copied().collect();
    let mut sent = Vec::new();
    let mut wants = VecDeque::new();
    for want in &request.wants {
        let mut object = object(objects, want)?;
        while object.kind == Kind::Tag {
            let target = Tag::parse(&object)?.target;
            sent.push(object);
            object = objects.object(&target)?;
        }
        wants.push_back((object.id, 1));
    }
    let known = history(objects, &request.haves, &shallow)?;
    let (limit, cut) = match request.depth {
        Depth::Unlimited => (u32::MAX, &shallow),
        Depth::Commits(depth) => (depth, &HashSet::new()),
    };
    let mut depths: BTreeMap<ObjectId, u32> = BTreeMap::new();
    let (mut boundary, mut unshallow) = (Vec::new(), Vec::new());
    let mut bodies: HashSet<ObjectId> = HashSet::new();
    for id in &request.haves {
        if let Ok(commit) = objects.commit((*id).into()) {
            list(objects, commit.tree, &mut bodies, &mut Vec::new())?;
        }
    }
    while let Some((id, depth)) = wants.pop_front() {
        if depths.contains_key(&id) {
            continue;
        }
        depths.insert(id, depth);
        let object = objects.object(&id)?;
        if object.kind != Kind::Commit {
            sent.push(object);
            continue;
        }
        let commit = Commit::parse(&object)?;
        if !known.contains(&id) {
            sent.push(object);
            if !(can_filter && request.filter == Filter::Trees) {
                list(objects, commit.tree, &mut bodies, &mut sent)?;
            }
        }
        if cut.contains(&id) || commit.parents.is_empty() {
            continue;
        }
        if depth >= limit {
            boundary.push(id);
            continue;
        }
        if shallow.contains(&id) {
            unshallow.push(id);
        }
        wants.extend(commit.parents.iter().map(|parent| (parent.0, depth + 1)));
    }
    Ok(Fetched {
        objects: Received::Objects(sent),
        shallow: boundary,
        unshallow,
    })
}

fn object(objects: &Objects, id: &ObjectId) -> Result<Object, GitError> {
    objects.find(id).ok_or_else(|| GitError::Server {
        url: "memory".to_owned(),
        message: format!("upload-pack: not our ref {id}"),
    })
}

/// Commits that these lead to, as far as the other side has them.
fn history(
    objects: &Objects,
    tips: &[ObjectId],
    shallow: &HashSet<ObjectId>,
) -> Result<HashSet<ObjectId>, GitError> {
    let mut open: Vec<ObjectId> = tips.to_vec();
    let mut known = HashSet::new();
    while let Some(id) = open.pop() {
        let Some(object) = objects.find(&id).filter(|_| known.insert(id)) else {
            continue;
        };
        match object.kind {
            Kind::Tag => open.push(Tag::parse(&object)?.target),
            Kind::Commit if !shallow.contains(&id) => {
                open.extend(
                    Commit::parse(&object)?
                        .parents
                        .iter()
                        .map(|parent| parent.0),
                );
            }
            _ => {}
        }
    }
    Ok(known)
}

/// Appends a directory and all below it that was not listed yet.
fn list(
    objects: &Objects,
    tree: ObjectId,
    listed: &mut HashSet<ObjectId>,
    out: &mut Vec<Object>,
) -> Result<(), GitError> {
    let mut open = vec![(tree, Mode::Directory)];
    while let Some((id, mode)) = open.pop() {
        if mode == Mode::Submodule || !listed.insert(id) {
            continue;
        }
        if mode == Mode::Directory {
            let tree = objects.tree(&id)?;
            open.extend(tree.entries().map(|entry| (entry.id, entry.mode)));
            out.push(tree.object());
        } else {
            out.push(objects.object(&id)?);
        }
    }
    Ok(())
}
