//! Draws an SVG as PNG: `dpfw-plot FROM.svg TO.png`.
//!
//! Owns: which fonts are used, and how many pixels there are. Does not: know what is in the
//! picture; `cargo xtask bench --plot` writes that. Invariant: text is drawn or the whole fails;
//! the renderer leaves out text for which it has no font.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::{Database, Family, Query};
use resvg::usvg::{Options, Tree};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Pixels for each unit of the picture, so that it is sharp on screens with twice the pixels.
const SCALE: f32 = 2.0;

/// The fonts that are drawn with, the first that there is.
const FONTS: [&str; 5] = ["DejaVu Sans", "Liberation Sans", "Noto Sans", "Arial", "Helvetica"];

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).map(PathBuf::from).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(paths: Vec<PathBuf>) -> Result<()> {
    let [from, to] = &paths[..] else {
        bail!("it is called as: dpfw-plot FROM.svg TO.png");
    };
    let svg = std::fs::read_to_string(from)
        .with_context(|| format!("{} cannot be read", from.display()))?;
    let mut fonts = Database::new();
    fonts.load_system_fonts();
    let png = draw(&svg, choose(fonts)?)?;
    std::fs::write(to, png).with_context(|| format!("{} cannot be written", to.display()))
}

/// The fonts, one of [`FONTS`] in the place of those that a picture names and that are missing.
///
/// # Errors
/// There is none of them.
fn choose(mut fonts: Database) -> Result<Database> {
    let is_there = |name: &&str| {
        fonts.query(&Query { families: &[Family::Name(name)], ..Query::default() }).is_some()
    };
    let found = FONTS.into_iter().find(is_there).with_context(|| {
        format!(
            "no font to write with: none of {}. Install one; on Debian: \
             apt install fonts-dejavu-core",
            FONTS.join(", ")
        )
    })?;
    fonts.set_sans_serif_family(found);
    Ok(fonts)
}

/// The picture as PNG.
///
/// # Errors
/// It is no SVG, or has no size.
fn draw(svg: &str, fonts: Database) -> Result<Vec<u8>> {
    let options = Options { fontdb: Arc::new(fonts), ..Options::default() };
    let tree = Tree::from_str(svg, &options).context("it is no SVG")?;
    let size = tree.size().to_int_size().scale_by(SCALE).context("the picture has no size")?;
    let mut pixels =
        Pixmap::new(size.width(), size.height()).context("the picture is too large")?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().context("it cannot be written as PNG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_twice_as_many_pixels_each_way() {
        let svg = r##"<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20">
            <rect width="30" height="20" fill="#0072b2"/></svg>"##;
        let png = draw(svg, Database::new()).expect("it is well-formed");
        let pixels = Pixmap::decode_png(&png).expect("it is a PNG");
        assert_eq!((pixels.width(), pixels.height()), (60, 40));
        let colour = pixels.pixel(59, 39).expect("within").demultiply();
        assert_eq!((colour.red(), colour.green(), colour.blue()), (0x00, 0x72, 0xb2));
    }

    #[test]
    fn without_a_font_it_says_what_to_install() {
        let error = choose(Database::new()).expect_err("no font").to_string();
        assert!(error.contains("apt install fonts-dejavu-core"), "{error}");
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let error = draw("no picture", Database::new()).expect_err("no SVG");
        assert_eq!(error.to_string(), "it is no SVG");
        let error = run(vec!["one".into()]).expect_err("one path").to_string();
        assert!(error.contains("dpfw-plot FROM.svg TO.png"), "{error}");
    }
}
