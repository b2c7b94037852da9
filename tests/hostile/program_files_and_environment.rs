// trick: looks for files, variables and threads that are not its own
// expect: ok

fn main() {
    assert!(std::fs::read_dir("/").is_err());
    assert!(std::fs::write("x", "x").is_err());
    assert_eq!(std::env::vars().count(), 0);
    assert!(std::thread::Builder::new().spawn(|| ()).is_err());
    assert!(std::net::TcpStream::connect("127.0.0.1:1").is_err());
}
