//! `dpfw certs`: a private authority, and the certificates that it issues.
//!
//! Owns: what is asked for, and which errors have which code. Does not: make certificates; the
//! crate `dpfw-certs` does; or render them; `told` does. Invariant: no key is ever printed.

mod told;

use crate::exit::{Exit, Failure};
use crate::run::write;
use crate::screen::Screen;
use clap::{Args, Subcommand};
use dpfw::Namespace;
use dpfw_certs::files::FileError;
use dpfw_certs::show;
use dpfw_certs::{Authority, AuthorityError, CertRole, Founding, Request};
use std::io;
use std::path::{Path, PathBuf};

/// Makes a private authority, and certificates for masters, slaves and observers.
///
/// Beyond this machine peers know each other by certificates: an authority, which is a directory,
/// issues one to each. Certificates of another authority work as well.
#[derive(Args, Debug)]
#[command(after_help = crate::help::CERTS)]
pub(crate) struct CertsCommand {
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Subcommand, Debug)]
enum Operation {
    /// Makes an authority in a directory
    Init {
        /// The directory; it is made if it is not there
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// What the authority is called in its certificates; made up unless told
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// For how many days it is in force; ten years unless told
        #[arg(long, value_name = "N")]
        days: Option<u32>,
    },
    /// Issues a certificate: NAME.pem, with its key, for that peer alone
    Issue(Issue),
    /// Issues certificates that say what those of these peers do, with new keys, in their places
    ///
    /// Whoever uses the file reads it again. The old certificate stays in force until it expires.
    Renew {
        /// The peers' names
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// For how many days
        #[arg(long, value_name = "N")]
        days: Option<u32>,
        #[command(flatten)]
        there: Directory,
    },
    /// Revokes every certificate of a peer, by its name, or one, by its serial number
    ///
    /// Peers hear of it when they have the new list, crl.pem.
    Revoke {
        /// A peer's name, or a certificate's serial number
        #[arg(value_name = "NAME|SERIAL")]
        whom: String,
        #[command(flatten)]
        there: Directory,
    },
    /// Shows a certificate, or all that an authority issued
    Show {
        /// A file of certificates, or an authority's directory
        #[arg(value_name = "FILE|DIR", default_value = USUAL)]
        path: PathBuf,
    },
}

/// Where the authority is unless it is said.
const USUAL: &str = "certs";

#[derive(Args, Debug)]
struct Directory {
    /// The authority's directory
    #[arg(long = "dir", value_name = "DIR", default_value = USUAL)]
    directory: PathBuf,
}

#[derive(Args, Debug)]
struct Issue {
    /// What the peer may be: master dispatches, slave executes, observer looks
    #[arg(long, value_name = "master|slave|observer")]
    role: CertRole,
    /// What the peer is called, in logs, receipts and quotas
    #[arg(long, value_name = "NAME")]
    name: String,
    /// A name or an address by which the peer is dialled; this machine's unless told. May be
    /// given several times
    #[arg(long = "san", value_name = "HOST|IP")]
    sans: Vec<String>,
    /// A namespace of the store that the peer shares with others whose certificates name it,
    /// beside its own. May be given several times
    #[arg(long = "namespace", value_name = "NAME", value_parser = namespace)]
    namespaces: Vec<Namespace>,
    /// For how many days; 90 unless told
    #[arg(long, value_name = "N")]
    days: Option<u32>,
    /// Replaces the peer's certificate, if it has one. The old one stays in force until it
    /// expires
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    there: Directory,
}

fn namespace(text: &str) -> Result<Namespace, String> {
    Namespace::new(text).map_err(|error| error.to_string())
}

impl CertsCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] with the exit code.
    pub(crate) fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        let form = screen.form();
        let text = match &self.operation {
            Operation::Init { directory, name, days } => {
                let founding = Founding { name: name.clone(), days: *days };
                let authority = Authority::create(directory, &founding).map_err(failed)?;
                let own = show::file(&authority.certificate()).map_err(unusable)?;
                told::founded(directory, &own, form)?
            }
            Operation::Issue(issue) => {
                let authority = issue.there.open()?;
                let issued = authority.issue(&issue.request()).map_err(failed)?;
                told::issued(&authority, &issued, form)?
            }
            Operation::Renew { names, days, there } => {
                let authority = there.open()?;
                let mut text = Vec::new();
                for name in names {
                    let renewed = authority.renew(name, *days).map_err(failed)?;
                    text.extend(told::renewed(&renewed, form)?);
                }
                text
            }
            Operation::Revoke { whom, there } => {
                let authority = there.open()?;
                let revoked = authority.revoke(whom).map_err(failed)?;
                told::revoked(&authority, whom, &revoked, form)?
            }
            Operation::Show { path } => shown(path, screen)?,
        };
        write(&text)
    }
}

impl Directory {
    fn open(&self) -> Result<Authority, Failure> {
        Authority::open(&self.directory).map_err(failed)
    }
}

impl Issue {
    fn request(&self) -> Request {
        let usual = Request::new(self.role, self.name.clone());
        Request {
            namespaces: self.namespaces.clone(),
            sans: self.sans.clone(),
            days: self.days.unwrap_or(usual.days),
            replace: self.force,
            ..usual
        }
    }
}

fn shown(path: &Path, screen: &Screen) -> Result<Vec<u8>, Failure> {
    let form = screen.form();
    match path.is_dir() {
        true => told::listed(&show::directory(path).map_err(unusable)?, form),
        false => told::described(&show::file(path).map_err(unusable)?, form),
    }
}

/// What an authority says; what the system refuses or the operator asked for wrongly.
fn failed(error: AuthorityError) -> Failure {
    let exit = match &error {
        AuthorityError::Make(_) => Exit::Internal,
        _ => Exit::Usage,
    };
    match error {
        AuthorityError::File(error) => unusable(error),
        error => Failure::new(exit, error),
    }
}

/// A file, with what to do if it is not there.
fn unusable(error: FileError) -> Failure {
    let absent =
        matches!(&error, FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
    let failure = Failure::new(Exit::Usage, &error);
    match absent {
        true => failure.hint("`dpfw certs init DIR` makes an authority, and with it these files"),
        false => failure,
    }
}
