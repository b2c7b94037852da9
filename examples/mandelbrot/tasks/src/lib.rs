//! The task of mandelbrot: the pixels of one tile of the picture.
//!
//! Owns: what a point's colour is. Does not: put tiles together. Invariant: a tile's bytes
//! are the same on every machine, in wasm and natively, for nothing in them comes from the
//! platform's mathematics: `libm` is plain Rust.

mod colour;

pub use dpfw_guest::Bytes;

use dpfw_guest::{Shape, task};
use serde::{Deserialize, Serialize};

dpfw_guest::module!();

/// Which part of the plane is drawn, and how large the picture is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Shape)]
pub struct View {
    /// The real part of the picture's middle.
    pub re: f64,
    /// Its imaginary part.
    pub im: f64,
    /// How much of the plane the picture is wide.
    pub span: f64,
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// A point that has not escaped after so many steps belongs to the set.
    pub steps: u32,
}

/// A rectangle of the picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub struct Tile {
    /// The first column.
    pub x: u32,
    /// The first row.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Each pixel is the mean of so many points in either direction: smooth edges.
const SAMPLES: u32 = 2;

/// The pixels of a tile, three bytes each: red, green and blue.
#[task(effect_free)]
pub fn render(view: View, tile: Tile) -> Bytes {
    let rows = tile.y..tile.y + tile.height;
    let columns = || tile.x..tile.x + tile.width;
    let pixels = rows.flat_map(|y| columns().map(move |x| (x, y)));
    pixels.flat_map(|(x, y)| pixel(view, x, y)).collect::<Vec<u8>>().into()
}

/// A pixel's colour.
fn pixel(view: View, x: u32, y: u32) -> [u8; 3] {
    let scale = view.span / f64::from(view.width);
    let mut sum = [0.0; 3];
    for n in 0..SAMPLES * SAMPLES {
        let within = |n: u32| (f64::from(n) + 0.5) / f64::from(SAMPLES);
        let column = f64::from(x) + within(n % SAMPLES) - f64::from(view.width) / 2.0;
        let row = f64::from(y) + within(n / SAMPLES) - f64::from(view.height) / 2.0;
        let light = match escape(view.re + column * scale, view.im - row * scale, view.steps) {
            Some(steps) => colour::at(steps),
            None => colour::INSIDE,
        };
        sum = std::array::from_fn(|i| sum[i] + light[i]);
    }
    sum.map(|light| colour::byte(light / f64::from(SAMPLES * SAMPLES)))
}

/// After how many steps of z² + c a point is far away, with fractions, so that colours have
/// no bands; `None` if it belongs to the set.
fn escape(re: f64, im: f64, most: u32) -> Option<f64> {
    // Far out, the fraction below is exact to the eye.
    const FAR: f64 = 256.0 * 256.0;
    if is_in_the_large_parts(re, im) {
        return None;
    }
    let (mut x, mut y, mut xx, mut yy) = (0.0, 0.0, 0.0, 0.0);
    for n in 0..most {
        y = 2.0 * x * y + im;
        x = xx - yy + re;
        (xx, yy) = (x * x, y * y);
        if xx + yy > FAR {
            let fraction = libm::log2(libm::log2(xx + yy) / libm::log2(FAR));
            return Some(f64::from(n) + 1.0 - fraction);
        }
    }
    None
}

/// Whether a point is in the heart or in the disc left of it, which would take all steps to
/// find out. Of the two the equations are known.
fn is_in_the_large_parts(re: f64, im: f64) -> bool {
    let q = (re - 0.25) * (re - 0.25) + im * im;
    q * (q + (re - 0.25)) <= 0.25 * im * im || (re + 1.0) * (re + 1.0) + im * im <= 0.0625
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: View = View { re: -0.5, im: 0.0, span: 3.0, width: 30, height: 20, steps: 100 };

    #[test]
    fn a_tile_is_the_part_of_the_picture_that_it_says() {
        let whole = render(VIEW, Tile { x: 0, y: 0, width: 30, height: 20 });
        assert_eq!(whole.len(), 30 * 20 * 3);
        let tile = render(VIEW, Tile { x: 7, y: 3, width: 5, height: 4 });
        for (row, pixels) in tile.chunks(5 * 3).enumerate() {
            let at = ((3 + row) * 30 + 7) * 3;
            assert_eq!(pixels, &whole[at..at + 5 * 3]);
        }
    }

    #[test]
    fn points_of_the_set_never_escape() {
        for (re, im) in [(0.0, 0.0), (-1.0, 0.0), (-2.0, 0.0), (-0.1, 0.7), (0.25, 0.0)] {
            assert_eq!(escape(re, im, 1000), None, "{re} {im}");
        }
        // 2, 6, 38, 1446: the fourth step is the first beyond 256.
        let steps = escape(2.0, 0.0, 1000).expect("far away");
        assert!((3.0..4.0).contains(&steps), "{steps}");
    }
}
