//! Draws the Mandelbrot set with dpfw, tile by tile.
//!
//! Owns: the tiles, and putting them together. Does not: know what a pixel's colour is; the
//! task does. Invariant: every pixel is in one tile, and the picture does not depend on how
//! many slaves there are.

#![forbid(unsafe_code)]

pub use mandelbrot_tasks::{Tile, View};

use anyhow::{Context, Result, ensure};
use dpfw::Master;
use futures_util::StreamExt;
use image::{ImageBuffer, Rgb, RgbImage};
use mandelbrot_tasks::{Bytes, render};

/// Pixels along the side of a tile: some milliseconds of work, against which a task costs
/// nothing, and small enough that no slave waits long for the last one.
const SIDE: u32 = 96;

/// The tiles of a picture, row by row.
pub fn tiles(width: u32, height: u32) -> Vec<Tile> {
    let starts = |most: u32| (0..most).step_by(SIDE as usize);
    let tile = |x, y| Tile { x, y, width: SIDE.min(width - x), height: SIDE.min(height - y) };
    starts(height).flat_map(|y| starts(width).map(move |x| tile(x, y))).collect()
}

/// Draws a picture on the master's slaves; `done` hears of every tile.
///
/// # Errors
/// The first tile that was not drawn.
pub async fn draw(master: &Master, view: View, mut done: impl FnMut()) -> Result<RgbImage> {
    let mut picture = RgbImage::new(view.width, view.height);
    let tiles = tiles(view.width, view.height);
    // The results come in the order of the tiles.
    let mut results = master.map(tiles.clone(), move |tile| render::call(view, tile));
    for tile in tiles {
        let pixels = results.next().await.context("a tile is missing")?;
        place(&mut picture, tile, pixels.context("a tile was not drawn")?)?;
        done();
    }
    Ok(picture)
}

/// Puts a tile where it belongs.
fn place(picture: &mut RgbImage, tile: Tile, pixels: Bytes) -> Result<()> {
    let part: Option<ImageBuffer<Rgb<u8>, Bytes>> =
        ImageBuffer::from_raw(tile.width, tile.height, pixels);
    let part = part.filter(|part| part.as_raw().len() == area(tile));
    ensure!(part.is_some(), "a slave drew a tile of another size");
    if let Some(part) = part {
        image::imageops::replace(picture, &part, tile.x.into(), tile.y.into());
    }
    Ok(())
}

/// Bytes of a tile.
fn area(tile: Tile) -> usize {
    tile.width as usize * tile.height as usize * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_in_one_tile() {
        for (width, height) in [(1, 1), (SIDE, SIDE), (SIDE + 1, 3 * SIDE - 1)] {
            let mut seen = vec![0; (width * height) as usize];
            for tile in tiles(width, height) {
                for y in tile.y..tile.y + tile.height {
                    for x in tile.x..tile.x + tile.width {
                        seen[(y * width + x) as usize] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|times| *times == 1), "{width} x {height}");
        }
    }
}
