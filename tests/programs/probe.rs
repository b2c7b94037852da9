//! A WASI program that does what its first argument says.

use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let number = |n: usize| rest.get(n).and_then(|arg| arg.parse::<u64>().ok()).unwrap_or(0);
    match what.as_str() {
        "cat" => cat()?,
        "count" => println!("{}", count()?),
        "args" => println!("{:?}", std::env::args().collect::<Vec<_>>()),
        "env" => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        "exit" => std::process::exit(number(0) as i32),
        "say" => rest.iter().for_each(|line| eprintln!("{line}")),
        "fail" => {
            rest.iter().for_each(|line| eprintln!("{line}"));
            std::process::exit(3);
        }
        "panic" => panic!("as it was told"),
        "spin" => loop {
            std::hint::black_box(0);
        },
        "spin-after" => {
            println!("spinning");
            io::stdout().flush()?;
            loop {
                std::hint::black_box(0);
            }
        }
        "sleep" => std::thread::sleep(Duration::from_millis(number(0))),
        "grow" => println!("{}", vec![1u8; number(0) as usize].len()),
        "write" => write(number(0))?,
        "files" => {
            let error = std::fs::read_dir("/").err().map(|e| e.kind());
            println!("{error:?} {:?}", std::fs::read("/etc/passwd").err().map(|e| e.kind()));
        }
        "clocks" => {
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |t| t.as_secs());
            println!("{} {}", Instant::now().elapsed().as_secs(), since);
        }
        "read" => rest.iter().for_each(|path| match std::fs::read_to_string(path) {
            Ok(text) => println!("{text}"),
            Err(error) => println!("{:?}", error.kind()),
        }),
        "fixed" => {
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |t| t.as_secs());
            let random = std::hash::RandomState::new().build_hasher().finish();
            println!("{since} {:?} {random}", Instant::now().elapsed());
        }
        "storm" => loop {
            std::hint::black_box(Instant::now());
        },
        "line" => {
            let mut line = String::new();
            io::stdin().read_line(&mut line)?;
            println!("{}", line.trim_end());
        }
        "hold" => {
            io::stdin().read_exact(&mut [0])?;
            std::thread::sleep(Duration::from_secs(3600));
        }
        "hello" => println!("hello, world"),
        _ => std::process::exit(64),
    }
    Ok(())
}

fn cat() -> io::Result<()> {
    io::copy(&mut io::stdin().lock(), &mut io::stdout().lock()).map(drop)
}

fn count() -> io::Result<u64> {
    let (mut buffer, mut total, mut stdin) = (vec![0; 64 << 10], 0, io::stdin().lock());
    loop {
        match stdin.read(&mut buffer)? {
            0 => return Ok(total),
            n => total += n as u64,
        }
    }
}

/// Writes so many bytes; says how it went if it is told that nobody reads.
fn write(mut left: u64) -> io::Result<()> {
    let (piece, mut stdout) = ([b'x'; 16 << 10], io::stdout().lock());
    while left > 0 {
        let n = left.min(piece.len() as u64);
        if let Err(error) = stdout.write_all(&piece[..n as usize]) {
            eprintln!("{:?}", error.kind());
            std::process::exit(7);
        }
        left -= n;
    }
    stdout.flush()
}
