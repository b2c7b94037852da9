//! A program that knows nothing of dpfw, over files.

use dpfw::{Master, Program, Slave};
use exec_everywhere::outputs;
use futures_util::StreamExt;
use std::fs;

/// Writes what it reads, letters turned by 13 places; a `!` makes it exit with status 3.
const ROT13: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read"
        (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    ;; The bytes at 64, their place and number at 0, how many were read at 8.
    (func $turn (param $at i32) (local $byte i32) (local $letter i32)
        (local.set $byte (i32.load8_u (local.get $at)))
        (if (i32.eq (local.get $byte) (i32.const 33)) (then (call $exit (i32.const 3))))
        (local.set $letter
            (i32.sub (i32.or (local.get $byte) (i32.const 32)) (i32.const 97)))
        (if (i32.lt_u (local.get $letter) (i32.const 26)) (then
            (i32.store8 (local.get $at) (i32.add (i32.sub (local.get $byte) (local.get $letter))
                (i32.rem_u (i32.add (local.get $letter) (i32.const 13)) (i32.const 26)))))))
    (func (export "_start") (local $at i32) (local $end i32)
        (loop $more
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const 1))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (if (i32.load (i32.const 8)) (then
                (call $turn (i32.const 64))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                (br $more))))))"#;

#[tokio::test]
async fn every_file_goes_through_the_program() {
    let dir = tempfile::tempdir().expect("a directory");
    let texts = ["Uryyb", "", "bad!", "Ubj ner lbh?"];
    let mut files = Vec::new();
    for (name, text) in texts.iter().enumerate() {
        files.push(dir.path().join(name.to_string()));
        fs::write(&files[name], text).expect("a file");
    }
    files.push(dir.path().join("gone"));

    let slave = Slave::builder().slots(2).cache(dir.path().join("cache"));
    let master = Master::builder().embed(slave).build().await.expect("a master");
    let program = Program::new(wat::parse_str(ROT13).expect("well-formed")).name("rot13");
    let outputs: Vec<_> = outputs(&master, &program, &files).collect().await;

    let [hello, empty, bad, how, gone] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(hello.as_ref().expect("an output").stdout, b"Hello"[..]);
    assert_eq!(empty.as_ref().expect("an output").stdout, b""[..]);
    assert_eq!(how.as_ref().expect("an output").stdout, b"How are you?"[..]);
    let (bad, gone) = (bad.as_ref().expect_err("bad"), gone.as_ref().expect_err("gone"));
    assert!(format!("{bad:#}").contains("status 3"), "{bad:#}");
    assert!(gone.to_string().ends_with("/gone"), "{gone:#}");
}
