//! Sizes and durations as people write them.

use bytesize::ByteSize;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes: `4096`, `64KiB`, `512MiB`, `1.5GiB`, `10MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = text.parse::<ByteSize>();
        size.map(|size| Self(size.0)).map_err(|_| "write for instance 4096, 64KiB or 1.5GiB".into())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["", "KiB", "MiB", "GiB", "TiB"];
        let (mut size, mut unit) = (self.0, 0);
        while size != 0 && size % 1024 == 0 && unit + 1 < UNITS.len() {
            (size, unit) = (size / 1024, unit + 1);
        }
        write!(f, "{size}{}", UNITS[unit])
    }
}

/// A duration: `500ms`, `30s`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = humantime::parse_duration(text);
        span.map(Self).map_err(|e| format!("{e}; write for instance 500ms, 30s or 1h"))
    }
}

impl Span {
    /// Reads a duration that is one.
    pub(crate) fn above_zero(text: &str) -> Result<Self, String> {
        match text.parse()? {
            Self(Duration::ZERO) => Err("it has to be longer than nothing, for instance 1s".into()),
            span => Ok(span),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_read_back_as_they_are_written() {
        for text in ["0", "1", "64KiB", "512MiB", "3GiB", "1536MiB"] {
            assert_eq!(text.parse::<Size>().expect(text).to_string(), text);
        }
        assert_eq!("1.5GiB".parse::<Size>(), Ok(Size(3 << 29)));
        assert_eq!("10MB".parse::<Size>(), Ok(Size(10_000_000)));
        for text in ["500ms", "30s", "1h 30m"] {
            assert_eq!(text.parse::<Span>().expect(text).to_string(), text);
        }
        for bad in ["", "-1", "much", "5XB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        assert_eq!(Span::above_zero("1ms"), Ok(Span(Duration::from_millis(1))));
        assert!(Span::above_zero("0s").expect_err("it is none").contains("longer"));
        assert!("30".parse::<Span>().expect_err("no unit").contains("30s"));
    }
}
