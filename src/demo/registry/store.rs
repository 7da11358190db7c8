//! What the demo registry holds: blobs, manifests, tags and unfinished uploads, all in memory.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::Deserialize;

use crate::model::Digest;

/// In all. A demo pushes a few KiB.
const MOST_BYTES: usize = 256 << 20;
const MOST_UPLOADS: usize = 64;

/// A refusal: the HTTP status, the [error code](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes)
/// and a sentence.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) u16, pub(super) &'static str, pub(super) String);

#[derive(Clone)]
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) body: Bytes,
}

#[derive(Default)]
pub(super) struct Store {
    blobs: HashMap<Digest, Bytes>,
    repositories: BTreeMap<String, Repository>,
    uploads: BTreeMap<u64, Vec<u8>>,
    next_upload: u64,
    bytes: usize,
}

#[derive(Default)]
struct Repository {
    manifests: HashMap<Digest, Manifest>,
    tags: BTreeMap<String, Digest>,
}

impl Store {
    pub(super) fn blob(&self, digest: &Digest) -> Option<Bytes> {
        self.blobs.get(digest).cloned()
    }

    pub(super) fn begin_upload(&mut self) -> u64 {
        while self.uploads.len() >= MOST_UPLOADS {
            if let Some((_, dropped)) = self.uploads.pop_first() {
                self.bytes -= dropped.len();
            }
        }
        self.next_upload += 1;
        self.uploads.insert(self.next_upload, Vec::new());
        self.next_upload
    }

    pub(super) fn uploaded(&self, id: u64) -> Result<usize, Refusal> {
        let upload = self.uploads.get(&id);
        upload.map(Vec::len).ok_or_else(no_upload)
    }

    pub(super) fn extend_upload(&mut self, id: u64, chunk: &[u8]) -> Result<usize, Refusal> {
        let upload = self.uploads.get_mut(&id).ok_or_else(no_upload)?;
        if self.bytes + chunk.len() > MOST_BYTES {
            return Err(full());
        }
        self.bytes += chunk.len();
        upload.extend_from_slice(chunk);
        Ok(upload.len())
    }

    pub(super) fn cancel_upload(&mut self, id: u64) -> Result<(), Refusal> {
        let upload = self.uploads.remove(&id).ok_or_else(no_upload)?;
        self.bytes -= upload.len();
        Ok(())
    }

    pub(super) fn finish_upload(&mut self, id: u64, digest: &Digest) -> Result<(), Refusal> {
        let upload = self.uploads.remove(&id).ok_or_else(no_upload)?;
        let found = Digest::of(&upload);
        if found != *digest || self.blobs.contains_key(digest) {
            self.bytes -= upload.len();
        }
        if found != *digest {
            return Err(Refusal(
                400,
                "DIGEST_INVALID",
                format!("the content is {found}"),
            ));
        }
        self.blobs.entry(*digest).or_insert_with(|| upload.into());
        Ok(())
    }

    pub(super) fn delete_blob(&mut self, digest: &Digest) -> bool {
        let blob = self.blobs.remove(digest);
        self.bytes -= blob.as_ref().map_or(0, Bytes::len);
        blob.is_some()
    }

    /// By tag or digest.
    pub(super) fn manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<(Digest, Manifest), Refusal> {
        let unknown = || Refusal(404, "MANIFEST_UNKNOWN", format!("no manifest {reference}"));
        let repository = self.repositories.get(repository).ok_or_else(unknown)?;
        let digest = match reference.parse() {
            Ok(digest) => digest,
            Err(_) => *repository.tags.get(reference).ok_or_else(unknown)?,
        };
        let manifest = repository.manifests.get(&digest).ok_or_else(unknown)?;
        Ok((digest, manifest.clone()))
    }

    /// Takes a manifest whose parts are all there.
    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        reference: &str,
        manifest: Manifest,
    ) -> Result<Digest, Refusal> {
        self.check_parts(repository, &manifest)?;
        self.keep_manifest(repository, reference, manifest)
    }

    /// Takes a blob.
    pub(super) fn keep_blob(&mut self, blob: &[u8]) -> Result<(), Refusal> {
        let digest = Digest::of(blob);
        if self.blobs.contains_key(&digest) {
            return Ok(());
        }
        if self.bytes + blob.len() > MOST_BYTES {
            return Err(full());
        }
        self.bytes += blob.len();
        self.blobs.insert(digest, Bytes::copy_from_slice(blob));
        Ok(())
    }

    /// Takes a manifest whose parts may be elsewhere.
    pub(super) fn keep_manifest(
        &mut self,
        repository: &str,
        reference: &str,
        manifest: Manifest,
    ) -> Result<Digest, Refusal> {
        let digest = Digest::of(&manifest.body);
        let named: Option<Digest> = reference.parse().ok();
        if named.is_some_and(|named| named != digest) {
            return Err(Refusal(
                400,
                "DIGEST_INVALID",
                format!("the content is {digest}"),
            ));
        }
        if self.bytes + manifest.body.len() > MOST_BYTES {
            return Err(full());
        }
        let repository = self.repositories.entry(repository.to_owned()).or_default();
        if named.is_none() {
            repository.tags.insert(reference.to_owned(), digest);
        }
        let size = manifest.body.len();
        if repository.manifests.insert(digest, manifest).is_none() {
            self.bytes += size;
        }
        Ok(digest)
    }

    fn check_parts(&self, repository: &str, manifest: &Manifest) -> Result<(), Refusal> {
        #[derive(Deserialize)]
        struct Part {
            digest: String,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Parts {
            config: Option<Part>,
            layers: Vec<Part>,
            manifests: Vec<Part>,
        }
        let invalid = |text: String| Refusal(400, "MANIFEST_INVALID", text);
        let parts: Parts =
            serde_json::from_slice(&manifest.body).map_err(|error| invalid(error.to_string()))?;
        let digest = |part: &Part| {
            let digest = part.digest.parse::<Digest>();
            digest.map_err(|error| invalid(error.to_string()))
        };
        for part in parts.config.iter().chain(&parts.layers) {
            if !self.blobs.contains_key(&digest(part)?) {
                let text = format!("no blob {}", part.digest);
                return Err(Refusal(404, "MANIFEST_BLOB_UNKNOWN", text));
            }
        }
        for part in &parts.manifests {
            digest(part)?;
            self.manifest(repository, &part.digest)?;
        }
        Ok(())
    }

    /// The manifests about this one: its referrers.
    pub(super) fn referrers(&self, repository: &str, subject: &str) -> Vec<(Digest, Manifest)> {
        let is_about = |manifest: &Manifest| {
            let body: serde_json::Value =
                serde_json::from_slice(&manifest.body).unwrap_or_default();
            body["subject"]["digest"] == subject
        };
        let all = self.repositories.get(repository);
        let all = all.into_iter().flat_map(|it| &it.manifests);
        let mut found: Vec<_> = all
            .filter(|(_, manifest)| is_about(manifest))
            .map(|(digest, manifest)| (*digest, manifest.clone()))
            .collect();
        found.sort_by_key(|(digest, _)| *digest);
        found
    }

    /// By tag: only the tag. By digest: the manifest and every tag of it.
    pub(super) fn delete_manifest(
        &mut self,
        repository: &str,
        reference: &str,
    ) -> Result<(), Refusal> {
        self.manifest(repository, reference)?;
        let Some(repository) = self.repositories.get_mut(repository) else {
            return Ok(());
        };
        match reference.parse::<Digest>() {
            Ok(digest) => {
                let manifest = repository.manifests.remove(&digest);
                self.bytes -= manifest.map_or(0, |manifest| manifest.body.len());
                repository.tags.retain(|_, target| *target != digest);
            }
            Err(_) => {
                repository.tags.remove(reference);
            }
        }
        Ok(())
    }

    /// Sorted.
    pub(super) fn tags(&self, repository: &str) -> Result<Vec<String>, Refusal> {
        let unknown = || Refusal(404, "NAME_UNKNOWN", format!("no repository {repository}"));
        let repository = self.repositories.get(repository).ok_or_else(unknown)?;
        Ok(repository.tags.keys().cloned().collect())
    }
}

fn no_upload() -> Refusal {
    Refusal(404, "BLOB_UPLOAD_UNKNOWN", "no such upload".to_owned())
}

fn full() -> Refusal {
    let text = format!("this registry holds at most {} MiB", MOST_BYTES >> 20);
    Refusal(413, "SIZE_INVALID", text)
}
