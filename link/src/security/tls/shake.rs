//! A TLS stream of a connection.

use crate::error::LinkError;
use crate::security::metered::{Metered, TooMuch};
use crate::security::tls::chain::Chain;
use crate::security::tls::{ALPN, Tls, words};
use dpfw_certs::Subject;
use rustls::CommonState;
use rustls::pki_types::ServerName;
use std::io;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// TLS gave no link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS: {0}")]
pub struct TlsError(pub(crate) String);

/// An encrypted stream, and who is at its other end.
pub(crate) type Shaken = (TlsStream<Metered>, Chain);

/// Lets a peer in that has dialled.
pub(crate) async fn accept(tls: &Tls, stream: TcpStream) -> Result<Shaken, LinkError> {
    let acceptor = TlsAcceptor::from(tls.current().server.clone());
    let mut stream = acceptor.accept(Metered::new(stream)).await.map_err(explain)?;
    let chain = chain(tls, stream.get_ref().1, None)?;
    stream.get_mut().0.open();
    Ok((TlsStream::from(stream), chain))
}

/// Shakes hands with a peer that was dialled by this name.
pub(crate) async fn dial(tls: &Tls, stream: TcpStream, host: &str) -> Result<Shaken, LinkError> {
    let unnamed = |_| TlsError(format!("{host:?} is no name that a certificate can have"));
    let name = ServerName::try_from(host.to_owned()).map_err(unnamed)?;
    let connector = TlsConnector::from(tls.current().client.clone());
    let shaken = connector.connect(name.clone(), Metered::new(stream)).await;
    let mut stream = shaken.map_err(|error| match explain(error) {
        LinkError::Ended => TlsError(SILENT.into()).into(),
        other => other,
    })?;
    let chain = chain(tls, stream.get_ref().1, Some(name))?;
    stream.get_mut().0.open();
    Ok((TlsStream::from(stream), chain))
}

/// What is known of a listener that ends a handshake without a word.
const SILENT: &str = "who listens there ended the handshake without a word: it may speak no TLS \
                      (was it started without --identity?)";

fn chain(
    tls: &Tls,
    session: &CommonState,
    dialled: Option<ServerName<'static>>,
) -> Result<Chain, LinkError> {
    if session.alpn_protocol() != Some(ALPN) {
        return Err(TlsError("the peer speaks something else than dpfw within it".into()).into());
    }
    let certificates = session.peer_certificates().unwrap_or_default().to_vec();
    let first = certificates.first().map_or(&[][..], |first| first.as_ref());
    let subject = Subject::of(first).map_err(|error| TlsError(error.to_string()))?;
    Ok(Chain::new(tls.clone(), certificates, dialled, subject))
}

/// What a stream's error says of TLS, if it is one of TLS.
pub(crate) fn explain(error: io::Error) -> LinkError {
    let inner = error.get_ref();
    if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return TlsError(words(tls)).into();
    }
    if let Some(much) = inner.and_then(|inner| inner.downcast_ref::<TooMuch>()) {
        return TlsError(much.to_string()).into();
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => LinkError::Ended,
        _ => LinkError::Io(error),
    }
}
