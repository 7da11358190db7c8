//! By whose SSH key a commit is signed: git's own form, the signature in the header `gpgsig` over everything else
//! ([SSHSIG](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig), namespace `git`).
//!
//! Owns the check of the signature. Never says whether the key may sign: that is the environment's business.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
};
use sha2::{Digest as _, Sha256};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, Mpint, SshSig};

use super::Repository;
use super::object::Object;
use crate::model::{CommitId, PublicKey};

/// What git signs for.
pub(super) const NAMESPACE: &str = "git";

/// The header that holds the signature; its further lines begin with a space.
const HEADER: &[u8] = b"gpgsig ";

/// The bit that says that somebody touched the security key.
const PRESENT: u8 = 1;

impl Repository {
    /// Whose key signed the commit; `None` where nobody's did, the signature is not true, or the commit is not
    /// here.
    pub fn signer_of(&self, commit: CommitId) -> Option<PublicKey> {
        signer_of(&self.object(commit.0).ok()?)
    }
}

fn signer_of(commit: &Object) -> Option<PublicKey> {
    let (payload, armour) = split(&commit.data)?;
    signer(&armour, NAMESPACE, &payload)
}

/// Whose key made the signature of these bytes, in OpenSSH's armour and for that namespace, where it is true.
pub fn signer(armour: &str, namespace: &str, payload: &[u8]) -> Option<PublicKey> {
    let signature = SshSig::from_pem(armour.as_bytes()).ok()?;
    signed_by(&signature, namespace, payload)
}

/// Whose key made the signature of these bytes, where it is true.
pub(super) fn signed_by(signature: &SshSig, namespace: &str, payload: &[u8]) -> Option<PublicKey> {
    if signature.namespace() != namespace {
        return None;
    }
    let signed = SshSig::signed_data(namespace, signature.hash_alg(), payload).ok()?;
    is_true(signature, &signed)
        .then(|| PublicKey::try_from(signature.public_key().clone()).ok())
        .flatten()
}

fn is_true(signature: &SshSig, signed: &[u8]) -> bool {
    let bytes = signature.signature_bytes();
    match (signature.public_key(), signature.algorithm()) {
        (KeyData::Ed25519(key), Algorithm::Ed25519) => {
            let key = UnparsedPublicKey::new(&ED25519, key.0);
            key.verify(signed, bytes).is_ok()
        }
        (KeyData::SkEd25519(key), Algorithm::SkEd25519) => {
            // The signature, then flags and a counter, which are signed too.
            let Some((signature, [flags, counter @ ..])) = bytes.split_at_checked(64) else {
                return false;
            };
            let application = Sha256::digest(key.application());
            let parts = [
                application.as_slice(),
                &[*flags],
                counter,
                &Sha256::digest(signed),
            ];
            let by = UnparsedPublicKey::new(&ED25519, key.public_key().0);
            counter.len() == 4
                && flags & PRESENT != 0
                && by.verify(&parts.concat(), signature).is_ok()
        }
        (KeyData::Rsa(key), Algorithm::Rsa { hash: Some(hash) }) => {
            let number = |it: &Mpint| it.as_positive_bytes().map(<[u8]>::to_vec);
            let (Some(n), Some(e)) = (number(&key.n), number(&key.e)) else {
                return false;
            };
            let parameters = match hash {
                HashAlg::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
                HashAlg::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
                _ => return false,
            };
            let key = PublicKeyComponents { n, e };
            key.verify(parameters, signed, bytes).is_ok()
        }
        _ => false,
    }
}

/// A commit without its signature, which is what was signed, and the signature.
fn split(data: &[u8]) -> Option<(Vec<u8>, String)> {
    let end = data.windows(2).position(|two| two == b"\n\n")?;
    let (mut payload, mut armour) = (Vec::with_capacity(data.len()), Vec::new());
    let mut within = false;
    for line in data[..=end].split_inclusive(|byte| *byte == b'\n') {
        within = match line {
            line if line.starts_with(HEADER) => {
                // Of two signatures nobody could say which one counts.
                if !armour.is_empty() {
                    return None;
                }
                armour.extend_from_slice(&line[HEADER.len()..]);
                true
            }
            [b' ', rest @ ..] if within => {
                armour.extend_from_slice(rest);
                true
            }
            line => {
                payload.extend_from_slice(line);
                false
            }
        };
    }
    payload.extend_from_slice(&data[end + 1..]);
    (!armour.is_empty()).then(|| Some((payload, String::from_utf8(armour).ok()?)))?
}

#[cfg(test)]
mod tests;
