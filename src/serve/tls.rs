//! The certificate that is shown, read again when its files change.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::model::TlsFiles;

/// How long the files are taken to be the same.
const FRESH: Duration = Duration::from_secs(1);

/// A chain of certificates has some kilobytes; more than this is another file.
const FILE_MAX: u64 = 1 << 20;

/// Why there is no certificate to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCertificate {
    /// A file cannot be read.
    #[error("the file {} cannot be read: {why}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file holds something else.
    #[error("the file {} holds no {what}: write PEM, beginning with -----BEGIN …-----", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The two do not go together, or are of a kind that is not known.
    #[error("the certificate {} and the key {} do not go together: {why}", certificate.display(), key.display())]
    Unfit {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What was said.
        why: String,
    },
}

/// See the module.
pub(super) struct Certificate {
    files: TlsFiles,
    shown: Mutex<Shown>,
}

struct Shown {
    acceptor: TlsAcceptor,
    /// What the files held when they were last read, good or not.
    content: Content,
    looked: Instant,
}

#[derive(PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// Where they cannot be read or used.
    pub(super) async fn read(files: TlsFiles) -> Result<Self, NoCertificate> {
        let content = Content::read(&files).await?;
        let shown = Shown {
            acceptor: content.acceptor(&files)?,
            content,
            looked: Instant::now(),
        };
        Ok(Self {
            files,
            shown: Mutex::new(shown),
        })
    }

    /// What agrees on keys with a peer. Where the files changed, by what they hold now; where that cannot
    /// be used, by the last that could.
    pub(super) async fn acceptor(&self) -> TlsAcceptor {
        let now = Instant::now();
        {
            let mut shown = self.shown();
            if now.saturating_duration_since(shown.looked) < FRESH {
                return shown.acceptor.clone();
            }
            shown.looked = now;
        }
        let read = Content::read(&self.files).await;
        let mut shown = self.shown();
        let made = match read {
            Ok(content) if content == shown.content => return shown.acceptor.clone(),
            Ok(content) => {
                let made = content.acceptor(&self.files);
                shown.content = content;
                made
            }
            Err(error) => Err(error),
        };
        match made {
            Ok(acceptor) => {
                tracing::info!("shows the changed certificate");
                shown.acceptor = acceptor;
            }
            Err(error) => {
                tracing::error!(
                    "the changed certificate is not used, the last good one is: {error}"
                );
            }
        }
        shown.acceptor.clone()
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    async fn read(files: &TlsFiles) -> Result<Self, NoCertificate> {
        Ok(Self {
            certificate: file(&files.certificate).await?,
            key: file(&files.key).await?,
        })
    }

    fn acceptor(&self, files: &TlsFiles) -> Result<TlsAcceptor, NoCertificate> {
        let empty = |path: &Path, what| NoCertificate::Empty {
            path: path.to_owned(),
            what,
        };
        let certificates = CertificateDer::pem_reader_iter(Cursor::new(&self.certificate));
        let chain: Vec<_> = certificates.filter_map(Result::ok).collect();
        if chain.is_empty() {
            return Err(empty(&files.certificate, "certificate"));
        }
        let key = PrivateKeyDer::from_pem_reader(Cursor::new(&self.key))
            .map_err(|_| empty(&files.key, "private key"))?;
        let unfit = |error: tokio_rustls::rustls::Error| NoCertificate::Unfit {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            why: error.to_string(),
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unfit)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config).into())
    }
}

async fn file(path: &Path) -> Result<Vec<u8>, NoCertificate> {
    let unreadable = |why: String| NoCertificate::Unreadable {
        path: path.to_owned(),
        why,
    };
    let size = tokio::fs::metadata(path).await;
    let size = size.map_err(|error| unreadable(error.to_string()))?.len();
    if size > FILE_MAX {
        return Err(unreadable("it is too large for a certificate".to_owned()));
    }
    let read = tokio::fs::read(path).await;
    read.map_err(|error| unreadable(error.to_string()))
}
