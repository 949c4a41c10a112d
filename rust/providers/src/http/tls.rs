//! TLS: the authorities that a client trusts, and its own certificate.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use mountain_core::error::Error;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::forking::no_fork;
use crate::fs::failure;

/// The certificates that a client was given.
#[derive(Default)]
pub struct Trust {
    /// The authorities to trust; `None` for the system's.
    roots: Option<Arc<RootCertStore>>,
    /// The client's own, with its key.
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Trust {
    /// Reads the files, which are PEM. `cert` is a chain and its key.
    pub fn read(ca: Option<&Path>, cert: Option<(&Path, &Path)>) -> Result<Self, Error> {
        let mut trust = Trust::default();
        if let Some(path) = ca {
            let mut roots = RootCertStore::empty();
            for each in chain(path)? {
                roots.add(each).map_err(|e| invalid(path, &e))?;
            }
            trust.roots = Some(Arc::new(roots));
        }
        if let Some((path, key)) = cert {
            let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|e| invalid(key, &e))?;
            trust.own = Some((chain(path)?, private));
        }
        // Whether the key is the certificate's.
        trust.config(trust.roots.clone().unwrap_or_else(|| Arc::new(RootCertStore::empty())), false).map_err(Error::Invalid)?;
        Ok(trust)
    }

    /// The settings of its connections. Reads the system's store on its first call where that is asked for.
    pub(super) fn settings(&self, http2: bool) -> Result<Arc<ClientConfig>, String> {
        let roots = self.roots.clone().unwrap_or_else(system);
        self.config(roots, http2).map(Arc::new)
    }

    fn config(&self, roots: Arc<RootCertStore>, http2: bool) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots);
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(|e| format!("cert=: {e}"))?
            }
        };
        if http2 {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        Ok(config)
    }
}

/// The system's authorities, read once. One that cannot be read is left out.
fn system() -> Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = SYSTEM.get() {
        return roots.clone();
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    // Read before: a child that is forked meanwhile would wait for a thread that it does not have.
    let _whole = no_fork();
    SYSTEM.get_or_init(|| Arc::new(roots)).clone()
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|e| failure(&e, path))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(path)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|e| invalid(path, &e))?;
    if found.is_empty() { Err(Error::Invalid(format!("{} has no certificate", path.display()))) } else { Ok(found) }
}

fn invalid(path: &Path, e: &dyn std::fmt::Display) -> Error {
    Error::Invalid(format!("{}: {e}", path.display()))
}
