//! Exact numbers with a scale.

use std::cmp::Ordering;
use std::fmt;

/// The largest precision of a DECIMAL, in digits.
pub const DECIMAL_PRECISION_MAX: u8 = 38;

/// A number with a fixed count of digits after the point: `unscaled` × 10^-`scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// All digits, as one integer.
    pub unscaled: i128,
    /// Digits after the point: 0 to 38.
    pub scale: u8,
}

impl Decimal {
    /// Reads `-12.50`: a sign, digits, a point; no exponent. `None` for any other text or more than 38 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && part.is_empty()) || !all_digits(whole) || !all_digits(part) {
            return None;
        }
        let mut unscaled: i128 = 0;
        for digit in whole.bytes().chain(part.bytes()) {
            unscaled = unscaled.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        }
        let fits = unscaled < 10_i128.pow(38) && part.len() <= usize::from(DECIMAL_PRECISION_MAX);
        let unscaled = if negative { -unscaled } else { unscaled };
        fits.then_some(Self { unscaled, scale: part.len() as u8 })
    }

    /// The same number with another scale, rounded half up; `None` when it needs more than `precision` digits.
    pub fn rescale(self, precision: u8, scale: u8) -> Option<Self> {
        let unscaled = if scale >= self.scale {
            let factor = 10_i128.checked_pow(u32::from(scale - self.scale))?;
            self.unscaled.checked_mul(factor)?
        } else {
            let factor = 10_i128.checked_pow(u32::from(self.scale - scale))?;
            let (quotient, rest) = (self.unscaled / factor, self.unscaled % factor);
            let up = rest.unsigned_abs() >= (factor.unsigned_abs()).div_ceil(2);
            quotient + if up { self.unscaled.signum() } else { 0 }
        };
        let bound = 10_i128.checked_pow(u32::from(precision.min(DECIMAL_PRECISION_MAX)))?;
        (unscaled.abs() < bound).then_some(Self { unscaled, scale })
    }

    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// Digits before the point plus digits after it: 1 to 38, the precision it needs.
    pub fn precision(self) -> u8 {
        let digits = self.unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1) as u8;
        digits.max(self.scale).max(1)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let scale = usize::from(self.scale);
        let digits = format!("{:0>width$}", self.unscaled.unsigned_abs(), width = scale + 1);
        let (whole, part) = digits.split_at(digits.len() - scale);
        if part.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{part}") }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.scale == other.scale {
            return self.unscaled.cmp(&other.unscaled);
        }
        let scale = self.scale.max(other.scale);
        let widen = |d: &Self| d.unscaled.checked_mul(10_i128.pow(u32::from(scale - d.scale)));
        match (widen(self), widen(other)) {
            (Some(left), Some(right)) => left.cmp(&right).then(self.scale.cmp(&other.scale)),
            // Only one that is far larger than the other can leave 128 bits.
            (None, _) => self.unscaled.cmp(&0),
            (_, None) => 0.cmp(&other.unscaled),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
