//! Mutual TLS: who is let in, who is not, and that nobody else learns or changes anything.

#[path = "kit/hello.rs"]
mod kit;
#[path = "kit/raw.rs"]
mod raw;

use dpfw_certs::{Authority, CertRole, Founding, Request};
use dpfw_link::dial::Dial;
use dpfw_link::gate::Gate;
use dpfw_link::listen::Listener;
use dpfw_link::security::{Security, SecurityError, Tls, TlsFiles};
use dpfw_link::{Link, LinkError, Proof};
use dpfw_protocol::hello::{Hello, Role};
use dpfw_protocol::limits::PROTOCOL;
use kit::hello;
use raw::said_to;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Outcome = Result<(), Box<dyn Error>>;

/// An authority, and what it has issued.
struct Place {
    home: TempDir,
    authority: Authority,
}

impl Place {
    fn new() -> Result<Self, Box<dyn Error>> {
        let home = tempfile::tempdir()?;
        let authority = Authority::create(&home.path().join("certs"), &Founding::default())?;
        Ok(Self { home, authority })
    }

    fn issue(&self, role: CertRole, name: &str) -> Result<PathBuf, Box<dyn Error>> {
        Ok(self.authority.issue(&Request::new(role, name))?.file)
    }

    fn files(&self, identity: PathBuf) -> TlsFiles {
        let (authority, revoked) = (self.authority.certificate(), self.authority.revocations());
        TlsFiles { identity, authority, revoked: Some(revoked) }
    }

    fn security(&self, identity: PathBuf) -> Result<Security, Box<dyn Error>> {
        Ok(Security::tls(Tls::open(self.files(identity))?))
    }

    fn peer(&self, role: CertRole, name: &str) -> Result<Security, Box<dyn Error>> {
        self.security(self.issue(role, name)?)
    }
}

/// A slave's port.
struct Port {
    listener: Listener,
    address: String,
}

impl Port {
    async fn open(security: &Security) -> Result<Self, Box<dyn Error>> {
        let listener = Listener::bind("127.0.0.1:0", security).await?;
        let address = listener.local_addr()?.to_string();
        Ok(Self { listener, address })
    }

    async fn meet(&self) -> Result<Link, LinkError> {
        let ours = said(Role::Slave)?;
        Link::establish_at(self.listener.accept().await, &ours, &mut Gate::open()).await
    }
}

fn said(role: Role) -> Result<Hello, LinkError> {
    hello(role, PROTOCOL).map_err(|error| LinkError::Broken(error.to_string()))
}

async fn dial(address: &str, security: &Security, ours: &Hello) -> Result<Link, LinkError> {
    let dialled = Dial { tries: Some(1), ..Dial::new(address) }.begin(security.clone());
    let stream = { dialled }.connect().await;
    let stream = stream.map_err(|error| LinkError::Broken(error.to_string()))?;
    Link::establish(stream, ours).await
}

/// Both ends of what comes of a master's certificate.
async fn meet(
    port: &Port,
    master: &Security,
) -> Result<(Result<Link, LinkError>, Result<Link, LinkError>), Box<dyn Error>> {
    let ours = hello(Role::Master, PROTOCOL)?;
    Ok(tokio::join!(dial(&port.address, master, &ours), port.meet()))
}

/// Why there was no link, at both ends.
async fn refused(port: &Port, master: &Security) -> Result<(String, String), Box<dyn Error>> {
    match meet(port, master).await? {
        (Err(ours), Err(theirs)) => Ok((ours.to_string(), theirs.to_string())),
        (ours, theirs) => Err(format!("there is a link: {ours:?}, {theirs:?}").into()),
    }
}

#[tokio::test]
async fn peers_of_one_authority_link_and_are_called_what_their_certificates_say() -> Outcome {
    let place = Place::new()?;
    let port = Port::open(&place.peer(CertRole::Slave, "slave-1")?).await?;
    let (ours, theirs) = meet(&port, &place.peer(CertRole::Master, "master-1")?).await?;
    let (ours, theirs) = (ours?, theirs?);
    // Whatever they called themselves.
    assert_eq!((ours.theirs.peer.as_str(), theirs.theirs.peer.as_str()), ("slave-1", "master-1"));
    for (link, role) in [(ours, CertRole::Slave), (theirs, CertRole::Master)] {
        let Proof::Certificate(chain) = &link.proof else { return Err("by what?".into()) };
        assert_eq!(chain.subject().role, role);
    }
    Ok(())
}

#[tokio::test]
async fn f44_whoever_has_no_certificate_or_a_wrong_one_is_not_linked() -> Outcome {
    let (place, other) = (Place::new()?, Place::new()?);
    let port = Port::open(&place.peer(CertRole::Slave, "slave-1")?).await?;
    // Of another authority: neither side believes the other.
    let stranger = other.peer(CertRole::Master, "master-1")?;
    let (ours, theirs) = refused(&port, &stranger).await?;
    assert!(ours.contains("of no authority that is trusted here"), "{ours}");
    assert!(!theirs.contains("master-1"), "{theirs}");
    // It believes the slave, which does not believe it.
    let files = TlsFiles {
        authority: place.authority.certificate(),
        ..other.files(other.issue(CertRole::Master, "m2")?)
    };
    let files = TlsFiles { revoked: None, ..files };
    let (ours, theirs) = refused(&port, &Security::tls(Tls::open(files)?)).await?;
    assert!(theirs.contains("of no authority that is trusted here"), "{theirs}");
    assert!(ours.contains("refuses this side's certificate"), "{ours}");
    // A slave's where a master's is needed.
    let (ours, theirs) = refused(&port, &place.peer(CertRole::Slave, "slave-2")?).await?;
    let why = "the certificate of slave-2 is for a slave, and links here are to masters";
    assert_eq!(theirs, why);
    assert_eq!(ours, format!("the peer closed the link: {why}"), "it is told nothing else");
    Ok(())
}

#[tokio::test]
async fn f44_what_is_not_in_force_is_refused() -> Outcome {
    let place = Place::new()?;
    let port = Port::open(&place.peer(CertRole::Slave, "slave-1")?).await?;
    let key = std::fs::read_to_string(place.home.path().join("certs").join("ca.key"))?;
    for (from, until, why) in [(-10, -1, "has expired"), (1, 10, "is not valid yet")] {
        let days = (Duration::days(from), Duration::days(until));
        let file = place.home.path().join(format!("m{from}.pem"));
        by_hand(&place, &key, &file, (CertRole::Master, days))?;
        let (ours, theirs) = refused(&port, &place.security(file)?).await?;
        assert!(theirs.contains(why), "{theirs}");
        assert!(ours.contains("refuses this side's certificate"), "{ours}");
        // A slave's, seen by a master.
        let file = place.home.path().join(format!("s{from}.pem"));
        by_hand(&place, &key, &file, (CertRole::Slave, days))?;
        let other = Port::open(&place.security(file)?).await?;
        let master = place.peer(CertRole::Master, &format!("m{from}"))?;
        let (ours, theirs) = refused(&other, &master).await?;
        assert!(ours.contains(why), "{ours}");
        assert!(theirs.contains("refuses this side's certificate"), "{theirs}");
    }
    Ok(())
}

#[tokio::test]
async fn a_link_ends_when_its_peers_certificate_expires() -> Outcome {
    let place = Place::new()?;
    let port = Port::open(&place.peer(CertRole::Slave, "slave-1")?).await?;
    let key = std::fs::read_to_string(place.home.path().join("certs").join("ca.key"))?;
    let file = place.home.path().join("brief.pem");
    // Long enough to shake hands on a busy machine.
    let brief = (Duration::days(-1), Duration::seconds(6));
    by_hand(&place, &key, &file, (CertRole::Master, brief))?;
    let (ours, theirs) = meet(&port, &place.security(file)?).await?;
    let (_ours, theirs) = (ours?, theirs?);
    let error = Link::pump(&theirs.outbox).await.to_string();
    assert!(error.contains("has expired"), "{error}");
    Ok(())
}

/// A peer's certificate, in force from and until so long from now.
fn by_hand(
    place: &Place,
    key: &str,
    file: &Path,
    (role, from_now): (CertRole, (Duration, Duration)),
) -> Outcome {
    let authority = std::fs::read_to_string(place.authority.certificate())?;
    let issuer = rcgen::Issuer::from_ca_cert_pem(&authority, rcgen::KeyPair::from_pem(key)?)?;
    let mut params = rcgen::CertificateParams::default();
    let now = time::OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now + from_now.0, now + from_now.1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "by-hand");
    params.subject_alt_names = vec![
        rcgen::SanType::URI(format!("dpfw:role:{role}").try_into()?),
        rcgen::SanType::IpAddress([127, 0, 0, 1].into()),
    ];
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    params.extended_key_usages = vec![ClientAuth, ServerAuth];
    let pair = rcgen::KeyPair::generate()?;
    let certificate = params.signed_by(&pair, &issuer)?;
    private(file, &(certificate.pem() + &pair.serialize_pem()))
}

fn private(file: &Path, text: &str) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, text)?;
    Ok(std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))?)
}

#[tokio::test]
async fn f44_one_that_signed_itself_is_refused() -> Outcome {
    let place = Place::new()?;
    let port = Port::open(&place.peer(CertRole::Slave, "slave-1")?).await?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "master-1");
    params.subject_alt_names = vec![rcgen::SanType::URI("dpfw:role:master".try_into()?)];
    let pair = rcgen::KeyPair::generate()?;
    let file = place.home.path().join("self.pem");
    private(&file, &(params.self_signed(&pair)?.pem() + &pair.serialize_pem()))?;
    match place.security(file) {
        // It is refused where it is used, or by the peer.
        Err(error) => assert!(error.to_string().contains("self.pem"), "{error}"),
        Ok(itself) => {
            let (_, theirs) = refused(&port, &itself).await?;
            assert!(theirs.contains("of no authority that is trusted here"), "{theirs}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn f44_a_slave_that_the_name_is_not_of_is_not_believed() -> Outcome {
    let place = Place::new()?;
    let sans = vec!["slave-1.example".into()];
    let request = Request { sans, ..Request::new(CertRole::Slave, "slave-1") };
    let port = Port::open(&place.security(place.authority.issue(&request)?.file)?).await?;
    let (ours, theirs) = refused(&port, &place.peer(CertRole::Master, "master-1")?).await?;
    assert!(ours.contains("does not name the host that was dialled"), "{ours}");
    assert!(!theirs.is_empty());
    Ok(())
}

#[tokio::test]
async fn f44_plain_bytes_are_answered_by_nothing_that_is_ours() -> Outcome {
    let place = Place::new()?;
    let port = Port::open(&place.peer(CertRole::Slave, "slave-1")?).await?;
    for bytes in
        [&hello(Role::Master, PROTOCOL)?.to_bytes()?[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 100]]
    {
        let peer = said_to(&port.address, bytes);
        let (said, met) = tokio::join!(peer, port.meet());
        assert!(met.is_err());
        // An alert of TLS, and no more.
        let said = said?;
        assert!(said.len() <= 7 && said.first().is_none_or(|&kind| kind == 0x15), "{said:?}");
    }
    Ok(())
}

#[tokio::test]
async fn neither_side_falls_back_to_plain() -> Outcome {
    let place = Place::new()?;
    let home = tempfile::tempdir()?;
    let token = Security::token(home.path().join("token"));
    let port = Port::open(&place.peer(CertRole::Slave, "slave-1")?).await?;
    let (ours, theirs) = refused(&port, &token).await?;
    assert!(ours.contains("wants TLS"), "{ours}");
    assert!(theirs.contains("does not speak TLS"), "{theirs}");
    let plain = Port::open(&token).await?;
    let (ours, _) = refused(&plain, &place.peer(CertRole::Master, "master-1")?).await?;
    assert!(!ours.is_empty());
    Ok(())
}

#[tokio::test]
async fn other_protocols_are_not_spoken() -> Outcome {
    let place = Place::new()?;
    let port = Port::open(&place.peer(CertRole::Slave, "slave-1")?).await?;
    let identity = dpfw_certs::files::Identity::read(&place.issue(CertRole::Master, "m")?)?;
    let mut roots = rustls::RootCertStore::empty();
    for root in dpfw_certs::files::certificates(&place.authority.certificate())? {
        roots.add(root)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(identity.chain, identity.key)?;
    let with = |alpn: &[&[u8]]| {
        let mut config = config.clone();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        tokio_rustls::TlsConnector::from(Arc::new(config))
    };
    for alpn in [&[&b"http/1.1"[..]][..], &[]] {
        let connector = with(alpn);
        let peer = async {
            let stream = TcpStream::connect(&port.address).await?;
            let mut stream =
                connector.connect("localhost".try_into().expect("a name"), stream).await?;
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await?;
            std::io::Result::Ok(said)
        };
        let (peer, met) = tokio::join!(peer, port.meet());
        let error = met.err().ok_or("it was let in")?.to_string();
        assert!(error.starts_with("TLS: "), "{error}");
        assert!(peer.is_err() || peer.is_ok_and(|said| said.is_empty()));
    }
    Ok(())
}

/// What a client says that speaks TLS 1.2 and nothing newer.
fn hello_of_1_2() -> Vec<u8> {
    let extensions = [
        // The groups and the signatures that everybody has: P-256, ECDSA with SHA-256.
        &[0, 0x0a, 0, 4, 0, 2, 0, 0x17][..],
        &[0, 0x0d, 0, 4, 0, 2, 4, 3],
        &[0, 0x0b, 0, 2, 1, 0],
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        // No session; ECDHE-ECDSA-AES128-GCM-SHA256; no compression.
        &[0, 0, 2, 0xc0, 0x2b, 1, 0],
        &[0, extensions.len() as u8],
        &extensions,
    ]
    .concat();
    let handshake = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    [&[0x16, 3, 1, 0, handshake.len() as u8][..], &handshake].concat()
}

#[tokio::test]
async fn an_older_tls_is_answered_by_its_alert_alone() -> Outcome {
    let place = Place::new()?;
    let port = Port::open(&place.peer(CertRole::Slave, "slave-1")?).await?;
    let old = hello_of_1_2();
    let (said, met) = tokio::join!(said_to(&port.address, &old), port.meet());
    // A fatal alert: protocol_version.
    let said = said?;
    assert!(matches!(said[..], [0x15, 3, _, 0, 2, 2, 70]), "{said:?}");
    let error = met.err().ok_or("it was let in")?.to_string();
    assert!(error.contains("speaks no TLS 1.3"), "{error}");
    Ok(())
}

#[tokio::test]
async fn f46_replayed_bytes_are_refused_by_tls() -> Outcome {
    let place = Place::new()?;
    let port = Port::open(&place.peer(CertRole::Slave, "slave-1")?).await?;
    let master = place.peer(CertRole::Master, "master-1")?;
    let between = TcpListener::bind("127.0.0.1:0").await?;
    let address = between.local_addr()?.to_string();
    let listen = async {
        let (peer, _) = between.accept().await?;
        let there = TcpStream::connect(&port.address).await?;
        let ((mut from, mut to), (mut back, mut forth)) = (peer.into_split(), there.into_split());
        let heard = async {
            let mut heard = Vec::new();
            let mut some = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut some).await {
                heard.extend_from_slice(&some[..n]);
                if forth.write_all(&some[..n]).await.is_err() {
                    break;
                }
            }
            // So that both know that it is over.
            let _ = forth.shutdown().await;
            heard
        };
        let back = async {
            let _ = tokio::io::copy(&mut back, &mut to).await;
            let _ = to.shutdown().await;
        };
        std::io::Result::Ok(tokio::join!(heard, back).0)
    };
    let ours = hello(Role::Master, PROTOCOL)?;
    let linked = async {
        let (ours, theirs) = tokio::join!(dial(&address, &master, &ours), port.meet());
        drop((ours?, theirs?));
        Ok::<_, Box<dyn Error>>(())
    };
    let (heard, linked) = tokio::join!(listen, linked);
    linked?;
    let heard = heard?;
    assert!(heard.len() > 500, "{} bytes are no handshake", heard.len());
    let replay = said_to(&port.address, &heard);
    let (_, met) = tokio::join!(replay, port.meet());
    let error = met.err().ok_or("it was believed")?;
    assert!(matches!(error, LinkError::Tls(_)), "{error}");
    Ok(())
}

#[tokio::test]
async fn who_says_too_much_before_it_is_known_is_cut_off() -> Outcome {
    let place = Place::new()?;
    let port = Port::open(&place.peer(CertRole::Slave, "slave-1")?).await?;
    let flood = async {
        let mut stream = TcpStream::connect(&port.address).await?;
        // Handshake records of a message that claims to be long, without end.
        let mut record = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff];
        record.resize(5 + 0x4000, 0);
        let mut sent = 0;
        while stream.write_all(&record).await.is_ok() {
            sent += record.len();
            assert!(sent < 100 << 20, "there is no end of it");
        }
        std::io::Result::Ok(())
    };
    let (flood, met) = tokio::join!(flood, port.meet());
    flood?;
    let error = met.err().ok_or("it was let in")?.to_string();
    // Whichever comes first: the budget, or the longest message of a handshake that rustls takes.
    assert!(error.contains("more than 65536 bytes") || error.contains("buffer full"), "{error}");
    Ok(())
}

#[tokio::test]
async fn what_is_renewed_or_revoked_counts_without_a_restart() -> Outcome {
    let place = Place::new()?;
    let port = Port::open(&place.peer(CertRole::Slave, "slave-1")?).await?;
    let (one, two) = (place.peer(CertRole::Master, "m1")?, place.peer(CertRole::Master, "m2")?);
    let (ours, theirs) = meet(&port, &one).await?;
    let (ours, theirs) = (ours?, theirs?);
    let (other, kept) = meet(&port, &two).await?;
    let (_other, kept) = (other?, kept?);
    place.authority.revoke("m1")?;
    // The link that stands is ended, at the next beats.
    let error = Link::pump(&theirs.outbox).await;
    assert_eq!(error.to_string(), "the peer's certificate was revoked");
    assert!(!kept.outbox.is_closed());
    drop(ours);
    // And there is no new one.
    let (ours, theirs) = refused(&port, &one).await?;
    assert!(theirs.contains("was revoked"), "{theirs}");
    assert!(ours.contains("it was revoked"), "{ours}");
    // One that was issued again, in the same file, is read again.
    place.authority.issue(&Request { replace: true, ..Request::new(CertRole::Master, "m1") })?;
    loop {
        let (ours, theirs) = meet(&port, &one).await?;
        if let (Ok(_), Ok(_)) = (ours, theirs) {
            return Ok(());
        }
    }
}

#[tokio::test]
async fn what_was_revoked_counts_though_another_file_cannot_be_used() -> Outcome {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new()?;
    let own = place.issue(CertRole::Slave, "slave-1")?;
    let port = Port::open(&place.security(own.clone())?).await?;
    let master = place.peer(CertRole::Master, "m1")?;
    let (ours, theirs) = meet(&port, &master).await?;
    let (_ours, theirs) = (ours?, theirs?);
    // As somebody may copy it who renews it; and what it is now is no slave's.
    set_permissions(&own, Permissions::from_mode(0o644))?;
    place.authority.revoke("m1")?;
    let error = Link::pump(&theirs.outbox).await;
    assert_eq!(error.to_string(), "the peer's certificate was revoked");
    // Mended, it is read without a restart: and stays a slave's.
    let another = place.peer(CertRole::Master, "m2")?;
    std::fs::copy(place.issue(CertRole::Master, "m3")?, &own)?;
    set_permissions(&own, Permissions::from_mode(0o600))?;
    let (ours, theirs) = meet(&port, &another).await?;
    assert_eq!(ours?.theirs.peer.as_str(), "slave-1");
    drop(theirs?);
    Ok(())
}

#[tokio::test]
async fn each_file_is_renewed_though_the_others_cannot_be_used() -> Outcome {
    let place = Place::new()?;
    let bundle = place.home.path().join("bundle.pem");
    let mut both = expired_authority()?;
    both += &std::fs::read_to_string(place.authority.certificate())?;
    std::fs::write(&bundle, &both)?;
    let files =
        TlsFiles { authority: bundle.clone(), ..place.files(place.issue(CertRole::Slave, "s")?) };
    // An authority that has expired holds the other back neither at the start nor later.
    let port = Port::open(&Security::tls(Tls::open(files)?)).await?;
    let masters = [place.peer(CertRole::Master, "m1")?, place.peer(CertRole::Master, "m2")?];
    let mut links = Vec::new();
    for master in &masters {
        let (ours, theirs) = meet(&port, master).await?;
        links.push((ours?, theirs?));
    }
    place.authority.revoke("m1")?;
    let error = Link::pump(&links[0].1.outbox).await;
    assert_eq!(error.to_string(), "the peer's certificate was revoked");
    // Neither does a file that says nothing at all.
    std::fs::write(&bundle, "nonsense")?;
    place.authority.revoke("m2")?;
    let error = Link::pump(&links[1].1.outbox).await;
    assert_eq!(error.to_string(), "the peer's certificate was revoked");
    // And what is trusted is what was.
    let (ours, theirs) = meet(&port, &place.peer(CertRole::Master, "m3")?).await?;
    drop((ours?, theirs?));
    Ok(())
}

#[tokio::test]
async fn what_is_trusted_is_renewed_though_the_revocations_cannot_be_used() -> Outcome {
    let (place, other) = (Place::new()?, Place::new()?);
    let (bundle, revoked) =
        (place.home.path().join("bundle.pem"), place.home.path().join("crl.pem"));
    std::fs::copy(place.authority.certificate(), &bundle)?;
    std::fs::copy(place.authority.revocations(), &revoked)?;
    let identity = place.issue(CertRole::Slave, "s")?;
    let files = TlsFiles { identity, authority: bundle.clone(), revoked: Some(revoked.clone()) };
    let port = Port::open(&Security::tls(Tls::open(files)?)).await?;
    let master = place.peer(CertRole::Master, "m1")?;
    let (ours, theirs) = meet(&port, &master).await?;
    let (_ours, theirs) = (ours?, theirs?);
    std::fs::write(&revoked, "nonsense")?;
    std::fs::copy(other.authority.certificate(), &bundle)?;
    let error = Link::pump(&theirs.outbox).await.to_string();
    assert!(error.contains("of no authority that is trusted here"), "{error}");
    Ok(())
}

/// The certificate of an authority, as it was long ago.
fn expired_authority() -> Result<String, Box<dyn Error>> {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "an authority of yore");
    let now = time::OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::days(20), now - Duration::days(10));
    Ok(params.self_signed(&rcgen::KeyPair::generate()?)?.pem())
}

#[test]
fn what_is_no_authority_is_trusted_by_nobody() -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new()?;
    let identity = place.issue(CertRole::Slave, "s")?;
    let refused = |authority: PathBuf| -> Result<String, Box<dyn Error>> {
        let files = TlsFiles { authority, revoked: None, ..place.files(identity.clone()) };
        Ok(Tls::open(files).err().ok_or("it is trusted")?.to_string())
    };
    // A peer's own file, or its certificate alone: whoever has its key could make masters.
    assert!(refused(identity.clone())?.contains("peer's own file"));
    let text = std::fs::read_to_string(&identity)?;
    let end = "-----END CERTIFICATE-----";
    let leaf = place.home.path().join("leaf.pem");
    std::fs::write(
        &leaf,
        text.split_inclusive(end).find(|part| part.contains(end)).ok_or("none")?,
    )?;
    assert!(refused(leaf)?.contains("a peer's certificate"));
    let open = place.home.path().join("open.pem");
    std::fs::copy(place.authority.certificate(), &open)?;
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o666))?;
    assert!(refused(open)?.contains("others may write to it"));
    let yore = place.home.path().join("yore.pem");
    std::fs::write(&yore, expired_authority()?)?;
    assert!(refused(yore)?.contains("it has expired"));
    Ok(())
}

#[test]
fn what_cannot_be_used_is_told_with_its_file() -> Outcome {
    let (place, other) = (Place::new()?, Place::new()?);
    let slave = Tls::open(place.files(place.issue(CertRole::Slave, "s")?))?;
    let error = slave.check(Role::Master).err().ok_or("it is a slave's")?;
    assert!(matches!(error, SecurityError::Role { .. }));
    let text = error.to_string();
    assert!(text.contains("s.pem") && text.contains("--role master"), "{text}");
    let missing = place.files(PathBuf::from("/nowhere/m.pem"));
    let text = Tls::open(missing).err().ok_or("it is not there")?.to_string();
    assert!(text.contains("/nowhere/m.pem"), "{text}");
    drop(other);
    Ok(())
}
