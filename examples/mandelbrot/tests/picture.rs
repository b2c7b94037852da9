//! The picture that slaves draw is the one that the plain function draws.

use dpfw::{Master, Slave};
use mandelbrot::{Tile, View, draw};
use mandelbrot_tasks::render;

#[tokio::test]
async fn slaves_draw_what_the_plain_function_draws() {
    let (re, im, span) = (-0.745, 0.1125, 0.02);
    let view = View { re, im, span, width: 250, height: 130, steps: 300 };
    let whole = Tile { x: 0, y: 0, width: view.width, height: view.height };
    let expected = blake3::hash(&render(view, whole));

    let cache = tempfile::tempdir().expect("a directory");
    let slave = Slave::builder().slots(2).cache(cache.path());
    let master = Master::builder().embed(slave).build().await.expect("a master");
    let mut tiles = 0;
    let picture = draw(&master, view, || tiles += 1).await.expect("drawn");
    assert_eq!((picture.width(), picture.height(), tiles), (250, 130, 3 * 2));
    assert_eq!(blake3::hash(picture.as_raw()), expected);
}
