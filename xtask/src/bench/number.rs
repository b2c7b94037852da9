//! Figures as people read them.

/// Digits that are shown before zeros take their place: more would not come again.
const DIGITS: i32 = 4;

/// Below this a figure is shown with decimals.
const WHOLE: f64 = 10.0;

/// A figure with at most four digits that say something, and commas between thousands:
/// `0.30`, `7.9`, `118`, `10,820`, `2,931,000`.
pub(super) fn number(value: f64) -> String {
    if value.abs() < 1.0 {
        return format!("{value:.2}");
    }
    if value.abs() < WHOLE {
        return format!("{value:.1}");
    }
    let excess = value.abs().log10().floor() as i32 + 1 - DIGITS;
    let unit = 10f64.powi(excess.max(0));
    commas(&format!("{:.0}", (value / unit).round() * unit))
}

fn commas(digits: &str) -> String {
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A power of ten at an axis: `0.1`, `100`, `10k`, `1M`.
pub(super) fn power(exponent: i32) -> String {
    match exponent {
        ..0 => format!("{:.*}", exponent.unsigned_abs() as usize, 10f64.powi(exponent)),
        0..3 => format!("{}", 10i64.pow(exponent.unsigned_abs())),
        3..6 => format!("{}k", 10i64.pow(exponent.unsigned_abs() - 3)),
        6..9 => format!("{}M", 10i64.pow(exponent.unsigned_abs() - 6)),
        _ => format!("1e{exponent}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_four_digits_at_most() {
        let cases = [
            (0.3, "0.30"),
            (7.92, "7.9"),
            (9.99, "10.0"),
            (118.2, "118"),
            (999.6, "1,000"),
            (1_977.67, "1,978"),
            (10_821.7, "10,820"),
            (448_990.8, "449,000"),
            (2_930_676.4, "2,931,000"),
            (0.0, "0.00"),
            (-1234.0, "-1,234"),
            (-123.0, "-123"),
        ];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn axes_have_powers_of_ten() {
        let powers = [-2, -1, 0, 1, 3, 5, 6, 9].map(power);
        assert_eq!(powers, ["0.01", "0.1", "1", "10", "1k", "100k", "1M", "1e9"]);
    }
}
