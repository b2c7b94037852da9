//! How links are secured, as options.

use crate::exit::Failure;
use crate::screen::Screen;
use clap::Args;
use dpfw::Security;
use dpfw::security::{Tls, TlsFiles};
use std::path::PathBuf;

/// What is asked of the other end of each link, and shown to it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Security")]
pub(crate) struct SecurityOptions {
    /// Encrypts all links, and shows this certificate and its key: a file as `dpfw certs issue`
    /// makes it. Needed beyond this machine
    #[arg(long, value_name = "FILE", requires = "authority")]
    identity: Option<PathBuf>,
    /// The certificates of the authorities whose peers are let in
    #[arg(long, value_name = "FILE", requires = "identity")]
    authority: Option<PathBuf>,
    /// The authority's list of certificates that were revoked
    #[arg(long, value_name = "FILE", requires = "identity")]
    revoked: Option<PathBuf>,
    /// The token that peers on this machine show each other, instead of the user's own; it is
    /// made if there is none
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    token: Option<PathBuf>,
    /// Allows addresses beyond this machine although links are neither encrypted nor
    /// authenticated: whoever reaches such a port can run code there, and read and change
    /// what is sent
    #[arg(long, conflicts_with_all = ["identity", "token"])]
    insecure_network: bool,
}

impl SecurityOptions {
    /// How links are secured; a loud warning goes before anything else if they are not.
    ///
    /// # Errors
    /// The [`Failure`] that a certificate cannot be used.
    pub(crate) fn security(&self, screen: &Screen) -> Result<Security, Failure> {
        if let (Some(identity), Some(authority)) = (&self.identity, &self.authority) {
            let (identity, authority) = (identity.clone(), authority.clone());
            let files = TlsFiles { identity, authority, revoked: self.revoked.clone() };
            return Ok(Security::tls(Tls::open(files)?));
        }
        if let Some(token) = &self.token {
            return Ok(Security::token(token));
        }
        if !self.insecure_network {
            return Ok(Security::default());
        }
        screen.warn(
            "--insecure-network: LINKS ARE NEITHER ENCRYPTED NOR AUTHENTICATED.\n\
             Whoever reaches a port of this process, or one that it dials, can run tasks,\n\
             read and change everything that is sent, and take a slave's or a master's place.\n\
             Use it only on a network where everybody may do so.",
        );
        Ok(Security::insecure())
    }
}
