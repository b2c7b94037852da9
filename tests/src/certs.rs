//! Certificates for tests.

use anyhow::Result;
use dpfw::Namespace;
use dpfw::security::{CertRole, Security, Tls, TlsFiles};
use dpfw_certs::{Authority, Founding, Request};
use std::path::PathBuf;

/// An authority of a test's own.
#[derive(Debug)]
pub struct Place {
    /// The authority.
    pub authority: Authority,
    /// Removed when it is dropped.
    _home: tempfile::TempDir,
}

impl Place {
    /// Makes one.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let authority = Authority::create(&home.path().join("certs"), &Founding::default())?;
        Ok(Self { authority, _home: home })
    }

    /// What a peer of this name has.
    ///
    /// # Errors
    /// If there is one already.
    pub fn peer(&self, role: CertRole, name: &str) -> Result<Security> {
        self.member(role, name, &[])
    }

    /// The same, with namespaces.
    ///
    /// # Errors
    /// If there is one already.
    pub fn member(&self, role: CertRole, name: &str, namespaces: &[&str]) -> Result<Security> {
        let namespaces =
            namespaces.iter().map(|name| Namespace::new(*name)).collect::<Result<_, _>>()?;
        let request = Request { namespaces, ..Request::new(role, name) };
        self.security(self.authority.issue(&request)?.file)
    }

    /// What whoever has this file has.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn security(&self, identity: PathBuf) -> Result<Security> {
        let (authority, revoked) = (self.authority.certificate(), self.authority.revocations());
        let files = TlsFiles { identity, authority, revoked: Some(revoked) };
        Ok(Security::tls(Tls::open(files)?))
    }
}
