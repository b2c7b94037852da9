//! From steps to colours.
//!
//! Invariant: neighbours in steps are neighbours in colour: the gradient is a circle, and
//! smooth.

/// Light of red, green and blue, each from 0 to 1: of this, unlike of bytes, means can be
/// taken.
pub(crate) type Light = [f64; 3];

/// The colour of the set.
pub(crate) const INSIDE: Light = [0.0; 3];

/// The gradient: where on the circle, and the bytes of the colour there.
const STOPS: [(f64, [u8; 3]); 6] = [
    (0.0, [4, 8, 48]),
    (0.18, [24, 84, 180]),
    (0.42, [236, 250, 255]),
    (0.64, [255, 172, 24]),
    (0.86, [110, 18, 20]),
    (1.0, [4, 8, 48]),
];

/// The colour of a point that escaped after so many steps. The deeper, the slower it turns:
/// near the set, steps grow faster than the eye can follow.
pub(crate) fn at(steps: f64) -> Light {
    let turn = 0.55 * libm::log2(steps.max(1.0));
    let turn = turn - libm::floor(turn);
    let next = STOPS.iter().position(|(at, _)| *at > turn).unwrap_or(STOPS.len() - 1).max(1);
    let ((from, a), (to, b)) = (STOPS[next - 1], STOPS[next]);
    let part = (turn - from) / (to - from);
    // Begins and ends level, so that the gradient has no edges.
    let part = part * part * (3.0 - 2.0 * part);
    std::array::from_fn(|i| light(a[i]) * (1.0 - part) + light(b[i]) * part)
}

/// The light of a byte, and the other way round. The square is near enough to what screens
/// do, and exact everywhere.
fn light(byte: u8) -> f64 {
    let part = f64::from(byte) / 255.0;
    part * part
}

/// The byte that shows so much light.
pub(crate) fn byte(light: f64) -> u8 {
    (libm::sqrt(light) * 255.0 + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive() {
        for byte in 0..=255 {
            assert_eq!(super::byte(light(byte)), byte);
        }
    }

    #[test]
    fn the_gradient_has_no_edges() {
        let mut last = at(1.0);
        for n in 1..20_000 {
            let next = at(1.0 + f64::from(n) / 200.0);
            let apart = (0..3).map(|i| (next[i] - last[i]).abs()).fold(0.0, f64::max);
            assert!(apart < 0.05, "after {n}: {last:?} and {next:?}");
            last = next;
        }
    }
}
