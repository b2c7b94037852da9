//! Shim until certs has files.
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct FileError {
    path: PathBuf,
    what: String,
}
fn bad(path: &Path) -> impl Fn(rustls::pki_types::pem::Error) -> FileError + '_ {
    move |e| FileError { path: path.to_owned(), what: e.to_string() }
}
pub fn identity(
    path: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), FileError> {
    let chain = CertificateDer::pem_file_iter(path)
        .map_err(bad(path))?
        .collect::<Result<_, _>>()
        .map_err(bad(path))?;
    Ok((chain, PrivateKeyDer::from_pem_file(path).map_err(bad(path))?))
}
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    CertificateDer::pem_file_iter(path)
        .map_err(bad(path))?
        .collect::<Result<_, _>>()
        .map_err(bad(path))
}
pub fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, FileError> {
    CertificateRevocationListDer::pem_file_iter(path)
        .map_err(bad(path))?
        .collect::<Result<_, _>>()
        .map_err(bad(path))
}
