//! Signatures that count, and those that do not.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use ssh_key::Signature;
use ssh_key::public::{Ed25519PublicKey, SkEd25519};

use super::*;
use crate::git::object::Kind;

const PAYLOAD: &str =
    "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@b.c> 0 +0000\n\nsubject\n";

/// A security key signs what it was told and what it saw: `flags` and a counter.
fn by_security_key(pair: &Ed25519KeyPair, flags: u8) -> SshSig {
    let raw: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
    let key = SkEd25519::new(Ed25519PublicKey(raw), "ssh:");
    let signed = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, PAYLOAD.as_bytes()).unwrap();
    let counter = [0, 0, 0, 7];
    let application = Sha256::digest("ssh:");
    let hash = Sha256::digest(&signed);
    let parts = [&application[..], &[flags], &counter, &hash[..]].concat();
    let bytes = [pair.sign(&parts).as_ref(), &[flags], &counter].concat();
    let signature = Signature::new(Algorithm::SkEd25519, bytes).unwrap();
    SshSig::new(
        KeyData::SkEd25519(key),
        NAMESPACE,
        HashAlg::Sha512,
        signature,
    )
    .unwrap()
}

fn commit(signature: &str) -> Object {
    let signature = signature.trim_end().replace('\n', "\n ");
    let text = PAYLOAD.replace("\n\n", &format!("\ngpgsig {signature}\n\n"));
    Object::new(Kind::Commit, text.into_bytes())
}

#[test]
fn a_security_key_counts_when_somebody_touched_it() {
    let pair = Ed25519KeyPair::generate().unwrap();
    for (flags, counts) in [(1, true), (5, true), (0, false), (4, false)] {
        let signature = by_security_key(&pair, flags);
        let signature = signature.to_pem(ssh_key::LineEnding::LF).unwrap();
        let signer = signer_of(&commit(&signature));
        assert_eq!(signer.is_some(), counts, "{flags}");
    }
}

#[test]
fn what_is_not_signed_once_and_truly_is_signed_by_nobody() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let signature = by_security_key(&pair, 1);
    let true_one = signature.to_pem(ssh_key::LineEnding::LF).unwrap();
    let good = commit(&true_one);
    let text = String::from_utf8(good.data.to_vec()).unwrap();
    let twice = text.replace(
        "\n\n",
        &format!("\ngpgsig {}\n\n", true_one.trim_end().replace('\n', "\n ")),
    );
    let elsewhere = SshSig::new(
        signature.public_key().clone(),
        "file",
        HashAlg::Sha512,
        signature.signature().clone(),
    );
    let elsewhere = elsewhere.unwrap().to_pem(ssh_key::LineEnding::LF).unwrap();
    for (what, text) in [
        ("another subject", text.replace("subject", "object")),
        ("two signatures", twice),
        ("no signature", PAYLOAD.to_owned()),
        ("no end", text.replace("\n\n", "\n")),
        (
            "another armour",
            text.replace("SSH SIGNATURE", "PGP SIGNATURE"),
        ),
        ("cut", text.replace("-----END SSH SIGNATURE-----", "")),
        (
            "for something else than git",
            String::from_utf8(commit(&elsewhere).data.to_vec()).unwrap(),
        ),
    ] {
        let object = Object::new(Kind::Commit, text.into_bytes());
        assert_eq!(signer_of(&object), None, "{what}");
    }
    assert!(signer_of(&good).is_some());
}
