//! On one machine: who has the token is linked, and nobody else is, or learns anything.

#[path = "kit/hello.rs"]
mod kit;
#[path = "kit/raw.rs"]
mod raw;

use dpfw_link::dial::Dial;
use dpfw_link::gate::Gate;
use dpfw_link::listen::Listener;
use dpfw_link::security::Security;
use dpfw_link::{KNOCK, Link, LinkError, Proof, TokenError};
use dpfw_protocol::hello::{PREFACE, Role};
use dpfw_protocol::limits::PROTOCOL;
use kit::hello;
use raw::said_to;
use std::error::Error;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Outcome = Result<(), Box<dyn Error>>;

/// A slave's port, with a token of its own.
struct Port {
    listener: Listener,
    address: String,
    home: TempDir,
}

impl Port {
    async fn open() -> Result<Self, Box<dyn Error>> {
        let home = tempfile::tempdir()?;
        let security = Security::token(home.path().join("token"));
        let listener = Listener::bind("127.0.0.1:0", &security).await?;
        let address = listener.local_addr()?.to_string();
        Ok(Self { listener, address, home })
    }

    /// Whoever has the port's token.
    fn friend(&self) -> Security {
        Security::token(self.home.path().join("token"))
    }

    /// What comes of the next one who dials.
    async fn meet(&self) -> Result<Link, LinkError> {
        let ours =
            hello(Role::Slave, PROTOCOL).map_err(|error| LinkError::Broken(error.to_string()))?;
        Link::establish_at(self.listener.accept().await, &ours, &mut Gate::open()).await
    }
}

async fn dial(address: &str, security: Security) -> Result<Link, Box<dyn Error>> {
    let stream = Dial::new(address).begin(security).connect().await?;
    Ok(Link::establish(stream, &hello(Role::Master, PROTOCOL)?).await?)
}

/// All that the port says to a peer that says this.
async fn said(port: &Port, bytes: &[u8]) -> Result<(Vec<u8>, LinkError), Box<dyn Error>> {
    let peer = said_to(&port.address, bytes);
    let (said, met) = tokio::join!(peer, port.meet());
    Ok((said?, met.err().ok_or("it was let in")?))
}

/// The reason that closes what was said, which has nothing else in it.
fn told(said: &[u8]) -> String {
    assert!(said.starts_with(&PREFACE), "{said:?}");
    String::from_utf8_lossy(said).into_owned()
}

#[tokio::test]
async fn who_has_the_token_is_linked() -> Outcome {
    let port = Port::open().await?;
    let (ours, theirs) = tokio::join!(dial(&port.address, port.friend()), port.meet());
    for link in [ours?, theirs?] {
        assert!(matches!(link.proof, Proof::Token), "{:?}", link.proof);
    }
    Ok(())
}

#[tokio::test]
async fn another_users_process_is_neither_linked_nor_told_anything() -> Outcome {
    let port = Port::open().await?;
    let home = tempfile::tempdir()?;
    let stranger = Security::token(home.path().join("token"));
    let (ours, theirs) = tokio::join!(dial(&port.address, stranger), port.meet());
    let error = ours.err().ok_or("it is linked")?;
    assert!(error.to_string().contains("has not this user's token"), "{error}");
    assert!(theirs.is_err());
    Ok(())
}

#[tokio::test]
async fn a_plain_hello_is_told_what_is_missing_and_no_more() -> Outcome {
    let port = Port::open().await?;
    let (said, error) = said(&port, &hello(Role::Master, PROTOCOL)?.to_bytes()?).await?;
    assert!(matches!(error, LinkError::Token(TokenError::Unshown)), "{error}");
    let text = told(&said);
    assert!(text.contains("have to show the token") && !text.contains("slave"), "{text}");
    Ok(())
}

#[tokio::test]
async fn what_is_not_dpfw_is_told_nothing() -> Outcome {
    let port = Port::open().await?;
    let (said, error) = said(&port, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    assert_eq!(said, b"", "{error}");
    Ok(())
}

#[tokio::test]
async fn a_guessed_token_is_refused() -> Outcome {
    let port = Port::open().await?;
    for guess in [[0; 32], [0xff; 32]] {
        let bytes = [&KNOCK[..], &[1; 32], &guess, &hello(Role::Master, PROTOCOL)?.to_bytes()?];
        let (said, error) = said(&port, &bytes.concat()).await?;
        assert!(matches!(error, LinkError::Token(TokenError::Wrong)), "{error}");
        // Its answer to the knock, then that it was wrong.
        let text = told(&said[72..]);
        assert!(text.contains("has not the token") && !text.contains("slots"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn f46_replayed_bytes_are_refused() -> Outcome {
    let port = Port::open().await?;
    // Whoever sits between them hears all of an honest peer.
    let between = TcpListener::bind("127.0.0.1:0").await?;
    let address = between.local_addr()?.to_string();
    let listen = async {
        let (mut peer, _) = between.accept().await?;
        let mut there = TcpStream::connect(&port.address).await?;
        let mut heard = vec![0; 40];
        peer.read_exact(&mut heard).await?;
        there.write_all(&heard).await?;
        let mut answer = [0; 72];
        there.read_exact(&mut answer).await?;
        peer.write_all(&answer).await?;
        let mut rest = [0; 32];
        peer.read_exact(&mut rest).await?;
        there.write_all(&rest).await?;
        heard.extend_from_slice(&rest);
        // Passed on both ways until the link stands, and ends.
        let _ = tokio::io::copy_bidirectional(&mut peer, &mut there).await;
        std::io::Result::Ok((heard, answer))
    };
    let linked = async {
        let (ours, theirs) = tokio::join!(dial(&address, port.friend()), port.meet());
        drop((ours?, theirs?));
        Ok::<_, Box<dyn Error>>(())
    };
    let (heard, linked) = tokio::join!(listen, linked);
    let (heard, answer) = heard?;
    linked?;
    let again = [&heard[..], &hello(Role::Master, PROTOCOL)?.to_bytes()?].concat();
    let (_, error) = said(&port, &again).await?;
    assert!(matches!(error, LinkError::Token(TokenError::Wrong)), "{error}");
    // Nor is a listener believed that says what the real one has said.
    let fake = async {
        let (mut peer, _) = between.accept().await?;
        peer.read_exact(&mut [0; 40]).await?;
        peer.write_all(&answer).await?;
        let mut more = Vec::new();
        let _ = peer.read_to_end(&mut more).await;
        std::io::Result::Ok(more)
    };
    let (more, dialled) = tokio::join!(fake, dial(&address, port.friend()));
    let error = dialled.err().ok_or("it believed it")?;
    assert!(error.to_string().contains("has not this user's token"), "{error}");
    assert_eq!(more?, b"", "it said more to a listener that is none");
    Ok(())
}

#[tokio::test]
async fn a_listeners_own_proof_is_not_taken_back() -> Outcome {
    let port = Port::open().await?;
    let reflect = async {
        let mut stream = TcpStream::connect(&port.address).await?;
        stream.write_all(&[&KNOCK[..], &[5; 32]].concat()).await?;
        let mut answer = [0; 72];
        stream.read_exact(&mut answer).await?;
        stream.write_all(&answer[40..]).await?;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        std::io::Result::Ok(rest)
    };
    let (_, met) = tokio::join!(reflect, port.meet());
    let error = met.err().ok_or("it was let in")?;
    assert!(matches!(error, LinkError::Token(TokenError::Wrong)), "{error}");
    Ok(())
}

#[tokio::test]
async fn each_side_that_is_alone_with_its_security_is_told() -> Outcome {
    let port = Port::open().await?;
    let (ours, _) = tokio::join!(dial(&port.address, Security::insecure()), port.meet());
    let error = ours.err().ok_or("it is linked")?;
    assert!(error.to_string().contains("have to show the token"), "{error}");
    let open = Listener::bind("127.0.0.1:0", &Security::insecure()).await?;
    let address = open.local_addr()?.to_string();
    let slave = hello(Role::Slave, PROTOCOL)?;
    let meet = async { Link::establish(open.accept().await, &slave).await };
    let (ours, _) = tokio::join!(dial(&address, port.friend()), meet);
    let error = ours.err().ok_or("it is linked")?;
    assert!(error.to_string().contains("--insecure-network"), "{error}");
    Ok(())
}
