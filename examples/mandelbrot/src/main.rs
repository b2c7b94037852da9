//! Draws the Mandelbrot set: `cargo run -p mandelbrot -- -o mandelbrot.png`.
//!
//! Without `--slave` it draws on a slave within the process.

#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Parser;
use dpfw::Master;
use indicatif::{ProgressBar, ProgressStyle};
use mandelbrot::{View, draw, tiles};
use std::path::PathBuf;

/// Draws the Mandelbrot set as a PNG.
#[derive(Parser)]
struct Cli {
    /// The file to write.
    #[arg(short, long, value_name = "FILE", default_value = "mandelbrot.png")]
    output: PathBuf,
    /// How large the picture is, in pixels.
    #[arg(long, value_name = "WxH", default_value = "3840x2160", value_parser = size)]
    size: (u32, u32),
    /// The middle of the picture: its real and its imaginary part.
    #[arg(long, value_name = "RE,IM", default_value = "-0.7435669,0.1314023")]
    #[arg(value_parser = point, allow_hyphen_values = true)]
    centre: (f64, f64),
    /// How much of the plane the picture is wide; the whole set is 4.
    #[arg(long, default_value_t = 0.0022878)]
    span: f64,
    /// A point that has not escaped after so many steps belongs to the set.
    #[arg(long, default_value_t = 2000)]
    steps: u32,
    /// A slave to dial, HOST:PORT; may be given several times.
    #[arg(long = "slave", value_name = "ADDR")]
    slaves: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let ((width, height), (re, im)) = (cli.size, cli.centre);
    let view = View { re, im, span: cli.span, width, height, steps: cli.steps };
    let master = cli.slaves.iter().fold(Master::builder(), |builder, slave| builder.slave(slave));
    let master = master.build().await?;

    // It is shown where standard error is a terminal, and nowhere else.
    let bar = ProgressBar::new(tiles(width, height).len() as u64)
        .with_style(ProgressStyle::with_template("{bar:40} {percent:>3}%  {elapsed}, {eta} left")?);
    let picture = draw(&master, view, || bar.inc(1)).await?;
    bar.finish_and_clear();

    let unwritten = || format!("{} cannot be written", cli.output.display());
    picture.save(&cli.output).with_context(unwritten)?;
    println!("{}: {width} x {height} in {:.1?}", cli.output.display(), bar.elapsed());
    Ok(())
}

/// The longest side: a picture of more is beyond what PNG readers take, and memory.
const LONGEST: u32 = 16_384;

fn size(text: &str) -> Result<(u32, u32), String> {
    let sides =
        text.split_once(['x', 'X']).and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    let is_drawn = |side: u32| (1..=LONGEST).contains(&side);
    sides
        .filter(|(w, h)| is_drawn(*w) && is_drawn(*h))
        .ok_or_else(|| format!("write for instance 1920x1080, each at most {LONGEST}"))
}

fn point(text: &str) -> Result<(f64, f64), String> {
    text.split_once(',')
        .and_then(|(re, im)| Some((re.trim().parse().ok()?, im.trim().parse().ok()?)))
        .ok_or_else(|| "write for instance -0.5,0".into())
}
