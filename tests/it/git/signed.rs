//! Commits and tags that are signed as git signs them: git itself judges.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::process::Command;
use towpath::git::{CommitDraft, GitError, Push, Pushed, Repository, Signer, Tag, TagDraft};
use towpath::model::{CommitId, Credential, SigningKey};

use super::site::{MASTER, Site, signature};

/// What a program says on both of its outputs, where it ends well.
async fn ran(program: &mut Command) -> Result<String, String> {
    let output = program.kill_on_drop(true).output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(text),
    }
}

async fn ssh_key(directory: &Path, kind: &str, name: &str, passphrase: &str) -> Credential {
    let path = directory.join(name);
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", kind, "-C", "towpath", "-N", passphrase, "-f"]);
    ran(keygen.arg(&path)).await.unwrap();
    Credential::File { path, user: None }
}

/// The tag on it.
const TAG: &str = "deployment-0001";

/// A signed commit, with a signed tag on it, that git got by a push.
async fn pushed(site: &Site, key: SigningKey) -> Result<(Repository, CommitId), GitError> {
    let repository = site.repository("signing");
    let repository = repository.signing(Some(Arc::new(Signer::new(key))));
    let mut draft = repository.draft();
    let tree = draft.put(None, "web.yaml", "1\n")?;
    let commit = draft.commit(&CommitDraft {
        tree,
        parents: Vec::new(),
        author: signature(0),
        committer: signature(0),
        message: "qa: deploy web v1\n\nTowpath-Application: web\n".to_owned(),
    });
    let signed = repository.sign(&mut draft, commit).await?;
    assert_ne!(signed, commit);
    let read = draft.read_commit(signed)?;
    assert_eq!(read.subject(), "qa: deploy web v1");
    let tag = draft.tag(&TagDraft {
        name: TAG.to_owned(),
        target: signed,
        tagger: signature(0),
        message: "Successfully Deployed\n\nTowpath-Records: none".to_owned(),
    })?;
    let tag = repository.sign_tag(&mut draft, tag).await?;
    let read = Tag::parse(&draft.object(tag)?)?;
    assert!(
        read.message
            .starts_with("Successfully Deployed\n\nTowpath-Records: none")
    );
    let name = format!("refs/tags/{TAG}");
    let push = Push::new().update(MASTER, None, signed.0);
    let push = push.update(name, None, tag).with(&draft)?;
    assert_eq!(repository.push(push).await?, Pushed::Landed);
    Ok((repository, signed))
}

fn git(site: &Site) -> Command {
    let mut git = Command::new("git");
    git.arg("--git-dir")
        .arg(site.directory.path().join("infra.git"));
    git
}

#[tokio::test]
async fn an_ssh_key_signs_as_git_verifies() {
    // One as it is made, and one as secrets are mounted: others may read it.
    for (kind, mode) in [("ed25519", 0o600), ("ed25519", 0o444), ("rsa", 0o600)] {
        let site = Site::file().await.unwrap();
        let keys = TempDir::new().unwrap();
        let key = ssh_key(keys.path(), kind, "key", "").await;
        let public = std::fs::read_to_string(keys.path().join("key.pub")).unwrap();
        let signers = keys.path().join("signers");
        std::fs::write(&signers, format!("towpath@example.com {public}")).unwrap();
        std::fs::set_permissions(keys.path().join("key"), Permissions::from_mode(mode)).unwrap();
        let (repository, commit) = pushed(&site, SigningKey::Ssh(key)).await.unwrap();
        let signer = repository.signer_of(commit);
        assert_eq!(signer, Some(public.parse().unwrap()));
        let allowed = format!("gpg.ssh.allowedSignersFile={}", signers.display());
        let mut verify = git(&site);
        verify
            .args(["-c", &allowed, "verify-commit"])
            .arg(commit.to_string());
        let verified = ran(&mut verify).await.unwrap();
        assert!(
            verified.contains("Good \"git\" signature for towpath@example.com"),
            "{verified}"
        );
        let mut verify = git(&site);
        verify.args(["-c", &allowed, "verify-tag", TAG]);
        let verified = ran(&mut verify).await.unwrap();
        assert!(verified.contains("Good \"git\" signature"), "{verified}");
        ran(git(&site).args(["fsck", "--strict"])).await.unwrap();
    }
}

/// Whether GnuPG is there. Where it is not, that is said; where CI is set, it is a failure.
async fn has_gpg() -> bool {
    let found = ran(Command::new("sh").args(["-c", "command -v gpg"]))
        .await
        .is_ok();
    if !found {
        assert!(
            std::env::var_os("CI").is_none(),
            "there is no `gpg`: install GnuPG"
        );
        println!("skipped: there is no `gpg`");
    }
    found
}

#[tokio::test]
async fn a_gnupg_key_signs_as_git_verifies() {
    if !has_gpg().await {
        return;
    }
    let home = TempDir::new().unwrap();
    std::fs::set_permissions(home.path(), Permissions::from_mode(0o700)).unwrap();
    let gpg = |arguments: &[&str]| {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir")
            .arg(home.path())
            .args(["--batch", "--quiet"])
            .args(arguments);
        gpg
    };
    let who = "Towpath <towpath@example.com>";
    let make = [
        "--passphrase",
        "",
        "--quick-generate-key",
        who,
        "ed25519",
        "sign",
        "never",
    ];
    ran(&mut gpg(&make)).await.unwrap();
    let listed = ran(&mut gpg(&["--list-secret-keys", "--with-colons"]))
        .await
        .unwrap();
    let fingerprint = listed.lines().find_map(|line| line.strip_prefix("fpr:"));
    let fingerprint = fingerprint.unwrap().trim_matches(':').to_owned();
    let mut shown = Vec::new();
    for key in ["towpath@example.com".to_owned(), fingerprint] {
        shown.push(verified_by_gnupg(key, home.path()).await);
    }
    // The agent that gpg started ends with the test.
    let mut end = Command::new("gpgconf");
    end.arg("--homedir")
        .arg(home.path())
        .args(["--kill", "all"]);
    ran(&mut end).await.unwrap();
    for shown in shown {
        let shown = shown.unwrap();
        let good = shown.matches("Good signature from \"Towpath").count();
        assert_eq!(good, 2, "{shown}");
    }
}

/// What git says of a commit and a tag that this key of a keyring signed.
async fn verified_by_gnupg(key: String, home: &Path) -> Result<String, String> {
    let site = Site::file().await.unwrap();
    let key = SigningKey::Gpg {
        key,
        home: Some(home.to_owned()),
    };
    let (repository, commit) = pushed(&site, key)
        .await
        .map_err(|error| error.to_string())?;
    // Only SSH keys count in `authority`.
    assert_eq!(repository.signer_of(commit), None);
    let verify = async |what: &str, which: &str| {
        let mut git = git(&site);
        ran(git.env("GNUPGHOME", home).args([what, which])).await
    };
    let commit = verify("verify-commit", &commit.to_string()).await?;
    let tag = verify("verify-tag", TAG).await?;
    Ok(commit + &tag)
}

#[tokio::test]
async fn a_key_that_cannot_sign_is_named_and_nothing_is_pushed() {
    let site = Site::file().await.unwrap();
    let keys = TempDir::new().unwrap();
    let file = |name: &str| Credential::File {
        path: keys.path().join(name),
        user: None,
    };
    std::fs::write(keys.path().join("nonsense"), "not a key at all\n").unwrap();
    let locked = ssh_key(keys.path(), "ed25519", "locked", "a passphrase").await;
    for (key, named, why) in [
        (SigningKey::Ssh(file("missing")), "missing", "No such file"),
        (SigningKey::Ssh(file("nonsense")), "nonsense", "ssh-keygen"),
        (SigningKey::Ssh(locked), "locked", "passphrase"),
        (
            SigningKey::Gpg {
                key: "nobody@example.com".to_owned(),
                home: Some(keys.path().to_owned()),
            },
            "nobody@example.com",
            "gpg",
        ),
    ] {
        let error = pushed(&site, key).await.err().unwrap();
        assert!(matches!(error, GitError::Signing { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(named) && text.contains(why), "{text}");
        assert!(!text.contains("not a key at all"), "{text}");
    }
    let refs = ran(git(&site).arg("for-each-ref")).await.unwrap();
    assert_eq!(refs, "");
}
