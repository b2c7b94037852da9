//! One panel: horizontal bars on a logarithmic axis.
//!
//! Owns: the scale and where things are. Invariant: every bar is long enough to be seen, and
//! its figure is within the panel.

use super::svg::{Anchor, Colour, Svg, Weight, width};
use crate::bench::number::{number, power};
use crate::bench::rows::Figure;

/// From one bar to the next, and how high each is.
const STEP: f64 = 19.0;
const BAR: f64 = 13.0;

/// For the title.
const TOP: f64 = 28.0;

/// For the axis under the bars.
const BOTTOM: f64 = 18.0;

/// For labels, on the left.
const LABELS: f64 = 116.0;

/// The size of labels and figures.
const SIZE: f64 = 11.0;

/// Between a bar and its figure.
const SPACE: f64 = 4.0;

/// The least length of a bar, of the whole axis.
const LEAST: f64 = 0.04;

/// A bar.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    colour: Colour,
    /// The figure beside it.
    text: String,
}

impl Bar {
    pub(super) fn new(label: &str, colour: Colour, figure: &Figure) -> Self {
        let mut text = number(figure.median);
        if figure.is_noisy {
            text.push('!');
        }
        if !figure.note.is_empty() {
            text.push_str(&format!(" ({})", figure.note));
        }
        Self { label: label.to_owned(), value: figure.median, colour, text }
    }

    fn weight(&self) -> Weight {
        match self.colour {
            Colour::Dpfw => Weight::Bold,
            _ => Weight::Plain,
        }
    }

    /// Of its figure.
    fn width(&self) -> f64 {
        width(&self.text, SIZE, self.weight())
    }
}

/// A title and bars in their order.
#[derive(Debug)]
pub(super) struct Panel {
    title: &'static str,
    bars: Vec<Bar>,
}

impl Panel {
    pub(super) fn new(title: &'static str, bars: Vec<Bar>) -> Self {
        Self { title, bars }
    }

    pub(super) fn height(&self) -> f64 {
        TOP + self.bars.len() as f64 * STEP + BOTTOM
    }

    pub(super) fn draw(&self, svg: &mut Svg, left: f64, top: f64, across: f64) {
        let at = (left, top + 12.0);
        svg.text(at, 12.5, Weight::Bold, Colour::Text, Anchor::Start, self.title);
        let (first, zero) = (top + TOP, left + LABELS);
        if self.bars.is_empty() {
            let at = (left, first + BAR);
            svg.text(at, SIZE, Weight::Plain, Colour::Faint, Anchor::Start, "not measured");
            return;
        }
        let scale = Scale::of(&self.bars);
        let length = self.axis(&scale, across - LABELS);
        let under = first + self.bars.len() as f64 * STEP;
        for exponent in scale.powers() {
            let x = zero + scale.share(10f64.powi(exponent)) * length;
            svg.line(x, first - 3.0, under);
            let at = (x, under + 11.0);
            svg.text(at, 9.5, Weight::Plain, Colour::Faint, Anchor::Middle, &power(exponent));
        }
        for (at, bar) in self.bars.iter().enumerate() {
            let y = first + at as f64 * STEP;
            let end = scale.share(bar.value) * length;
            let weight = bar.weight();
            let colour = if bar.colour == Colour::Limit { Colour::Faint } else { Colour::Text };
            let base = y + BAR - 2.5;
            svg.text((zero - 6.0, base), SIZE, weight, colour, Anchor::End, &bar.label);
            svg.bar((zero, y), (end, BAR), bar.colour);
            let beside = (zero + end + SPACE, base);
            svg.text(beside, SIZE, weight, colour, Anchor::Start, &bar.text);
        }
    }

    /// The length of the axis, so that each bar's figure has room after it.
    fn axis(&self, scale: &Scale, room: f64) -> f64 {
        let lengths = self.bars.iter().map(|bar| {
            let rest = room - SPACE - bar.width();
            rest / scale.share(bar.value)
        });
        lengths.fold(room, f64::min).max(0.0)
    }
}

/// A logarithmic scale.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// The logarithms of its ends.
    low: f64,
    high: f64,
}

impl Scale {
    /// From a power of ten, with room for the shortest bar, to the longest bar.
    fn of(bars: &[Bar]) -> Self {
        let logarithms = bars.iter().map(|bar| bar.value.log10());
        let least = logarithms.clone().fold(f64::INFINITY, f64::min);
        let most = logarithms.fold(f64::NEG_INFINITY, f64::max);
        let mut low = least.floor();
        let high = most.max(low + 1.0);
        if (least - low) / (high - low) < LEAST {
            low -= 1.0;
        }
        Self { low, high }
    }

    /// How far along the axis a value is.
    fn share(&self, value: f64) -> f64 {
        (value.log10() - self.low) / (self.high - self.low)
    }

    /// The exponents along the axis.
    fn powers(&self) -> impl Iterator<Item = i32> {
        self.low as i32..=self.high.floor() as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(median: f64, note: &str) -> Bar {
        let (min, max, note) = (median, median, note.to_owned());
        Bar::new("x", Colour::Peer, &Figure { min, median, max, is_noisy: true, note })
    }

    #[test]
    fn every_bar_can_be_seen_and_its_figure_has_room() {
        for values in
            [vec![1.0, 1.0], vec![0.3, 2700.0], vec![100.0, 101.0], vec![999.0], vec![1e7, 5.0]]
        {
            let bars: Vec<_> = values.iter().map(|value| bar(*value, "8 MiB")).collect();
            let scale = Scale::of(&bars);
            let panel = Panel::new("a panel", bars);
            let length = panel.axis(&scale, 300.0);
            for bar in &panel.bars {
                let share = scale.share(bar.value);
                assert!((LEAST..=1.0).contains(&share), "{values:?}: {share}");
                let end = share * length + SPACE + bar.width();
                assert!(end <= 300.001, "{values:?}: {end}");
            }
        }
    }

    #[test]
    fn scales_begin_at_powers_of_ten() {
        let powers = |values: &[f64]| {
            let bars: Vec<_> = values.iter().map(|value| bar(*value, "")).collect();
            Scale::of(&bars).powers().collect::<Vec<_>>()
        };
        assert_eq!(powers(&[44.0, 47_970.0]), [1, 2, 3, 4]);
        assert_eq!(powers(&[100.0, 2000.0]), [1, 2, 3]);
        assert_eq!(powers(&[0.3, 8.0]), [-1, 0]);
    }

    #[test]
    fn figures_are_told_with_what_they_have_to_be_read_with() {
        assert_eq!(bar(4.84, "8 MiB").text, "4.8! (8 MiB)");
    }
}
