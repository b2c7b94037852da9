//! The few shapes that a picture is made of.
//!
//! Owns: colours, and escaping of what others have named. Invariant: what comes out is
//! well-formed, and each shape says its own colour, so that a page's style changes nothing.

use std::fmt::Write;

/// The fonts by name; the width of a text is reckoned for the first. Of the others one is
/// everywhere.
const FONTS: &str = "DejaVu Sans, Verdana, Arial, sans-serif";

/// Colours that differ for people who see fewer of them, and in lightness: of Okabe and Ito's
/// palette, the second one paler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Dpfw,
    Peer,
    Limit,
    Text,
    Faint,
    Line,
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Self::Dpfw => "#d55e00",
            Self::Peer => "#7fb3d5",
            Self::Limit => "#bdbdbd",
            Self::Text => "#1f2328",
            Self::Faint => "#59636e",
            Self::Line => "#e4e7ea",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    Plain,
    Bold,
}

/// Which end of a text is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture in the making.
#[derive(Debug)]
pub(super) struct Svg {
    out: String,
}

impl Svg {
    /// An empty picture with a background of its own, for pages that are light or dark.
    pub(super) fn new(width: f64, height: f64) -> Self {
        let mut out = String::new();
        let _ = writeln!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="{FONTS}">"#
        );
        let (width, height) = (width - 1.0, height - 1.0);
        let _ = writeln!(
            out,
            r##"<rect x="0.5" y="0.5" width="{width}" height="{height}" rx="8" fill="#ffffff" stroke="#d0d7de"/>"##
        );
        Self { out }
    }

    pub(super) fn text(
        &mut self,
        (x, y): (f64, f64),
        size: f64,
        weight: Weight,
        colour: Colour,
        anchor: Anchor,
        text: &str,
    ) {
        let weight = match weight {
            Weight::Plain => "",
            Weight::Bold => r#" font-weight="bold""#,
        };
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let (colour, text) = (colour.code(), escaped(text));
        let _ = writeln!(
            self.out,
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}"{weight}{anchor} fill="{colour}">{text}</text>"#
        );
    }

    pub(super) fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: Colour) {
        let colour = colour.code();
        let _ = writeln!(
            self.out,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="1.5" fill="{colour}"/>"#
        );
    }

    /// A line downwards.
    pub(super) fn line(&mut self, x: f64, top: f64, bottom: f64) {
        let colour = Colour::Line.code();
        let _ = writeln!(self.out, r#"<path d="M{x:.1} {top:.1}V{bottom:.1}" stroke="{colour}"/>"#);
    }

    pub(super) fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }
}

/// About how wide a text is in DejaVu Sans, which is wider than most.
pub(super) fn width(text: &str, size: f64, weight: Weight) -> f64 {
    let of_size = |char: char| match char {
        '0'..='9' => 0.64,
        ',' | '.' | ' ' | '!' | 'i' | 'l' => 0.33,
        _ => 0.6,
    };
    let wider = match weight {
        Weight::Plain => 1.0,
        Weight::Bold => 1.1,
    };
    text.chars().map(of_size).sum::<f64>() * size * wider
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // XML has no others, escaped or not.
            char if char.is_control() => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
    out
}
