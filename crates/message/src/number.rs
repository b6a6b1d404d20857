//! JSON numbers compared by their exact value.

use std::cmp::Ordering;

use crate::grammar;

/// A JSON number compared by its exact value, whatever its length and spelling: `1`, `1.0` and `10e-1` are equal,
/// and 2^53 + 1 is not 2^53.
///
/// ```
/// use metlog_message::Number;
/// use std::cmp::Ordering;
///
/// let number = |text| Number::parse(text).unwrap();
/// assert_eq!(number("10e-1").compare(number("1.0")), Ordering::Equal);
/// assert_eq!(number("9007199254740993").compare(number("9007199254740992")), Ordering::Greater);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Number<'a> {
    text: &'a str,
}

impl<'a> Number<'a> {
    /// A number from its JSON text; `None` where the text is not a JSON number.
    pub fn parse(text: &'a str) -> Option<Number<'a>> {
        (grammar::number(text.as_bytes(), 0) == Some(text.len())).then_some(Number { text })
    }

    /// The text as written.
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// Compares by value. Takes time in proportion to the two texts and no memory, whatever their exponents.
    pub fn compare(self, other: Number<'_>) -> Ordering {
        let (this, that) = (Parts::of(self.text.as_bytes()), Parts::of(other.text.as_bytes()));
        match this.sign().cmp(&that.sign()) {
            Ordering::Equal if this.sign() > 0 => this.compare_magnitude(&that),
            Ordering::Equal if this.sign() < 0 => that.compare_magnitude(&this),
            order => order,
        }
    }
}

/// A number as 0.DIGITS times ten to the power of (`point` + the exponent), the first digit not being zero.
struct Parts<'a> {
    negative: bool,
    /// Digits without the leading zeros, in two pieces because of the point.
    whole: &'a [u8],
    fraction: &'a [u8],
    point: i128,
    exponent: Exponent<'a>,
}

/// An exponent of any length: its digits without leading zeros.
struct Exponent<'a> {
    negative: bool,
    digits: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(text: &'a [u8]) -> Parts<'a> {
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match memchr::memchr2(b'e', b'E', text) {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text, &[][..]),
        };
        let (whole, fraction) = match memchr::memchr(b'.', mantissa) {
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
            None => (mantissa, &[][..]),
        };
        let whole = without_leading_zeros(whole);
        let (fraction, point) = if whole.is_empty() {
            let significant = without_leading_zeros(fraction);
            (significant, -((fraction.len() - significant.len()) as i128))
        } else {
            (fraction, whole.len() as i128)
        };
        let (exponent_negative, digits) = match exponent.split_first() {
            Some((b'-', digits)) => (true, digits),
            Some((b'+', digits)) => (false, digits),
            _ => (false, exponent),
        };
        let exponent = Exponent { negative: exponent_negative, digits: without_leading_zeros(digits) };
        Parts { negative, whole, fraction, point, exponent }
    }

    /// -1, 0 or 1.
    fn sign(&self) -> i8 {
        if self.whole.is_empty() && self.fraction.is_empty() {
            0
        } else if self.negative {
            -1
        } else {
            1
        }
    }

    /// Compares two numbers that are not zero, their signs apart.
    fn compare_magnitude(&self, other: &Parts<'_>) -> Ordering {
        let difference = self.exponent.minus(&other.exponent);
        difference.cmp(&(other.point - self.point)).then_with(|| {
            let length =
                (self.whole.len() + self.fraction.len()).max(other.whole.len() + other.fraction.len());
            self.digits().take(length).cmp(other.digits().take(length))
        })
    }

    /// The digits, followed by zeros without end.
    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.iter().chain(self.fraction).copied().chain(std::iter::repeat(b'0'))
    }
}

/// Beyond this a difference of exponents need not be known exactly: no text is that long.
const FAR: i128 = 1 << 100;

impl Exponent<'_> {
    /// The difference of two exponents, exact unless it is beyond [`FAR`], where its sign is right.
    fn minus(&self, other: &Exponent<'_>) -> i128 {
        let sign = |exponent: &Exponent<'_>| if exponent.negative { -1 } else { 1 };
        let length = self.digits.len().max(other.digits.len());
        let mut difference = 0i128;
        for place in (0..length).rev() {
            let step = sign(self) * self.digit(place) - sign(other) * other.digit(place);
            difference = difference * 10 + step;
            // What follows can change it by less than two in this place: its sign is decided.
            if difference.abs() > FAR {
                return difference;
            }
        }
        difference
    }

    /// The digit at `place`, counted from the last one; 0 in front of the first.
    fn digit(&self, place: usize) -> i128 {
        let from_front = self.digits.len().checked_sub(place + 1);
        from_front.and_then(|at| self.digits.get(at)).map_or(0, |digit| i128::from(digit - b'0'))
    }
}

/// Without the zeros in front; nothing is left of zero.
fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(left: &str, right: &str) -> Ordering {
        let order = Number::parse(left).unwrap().compare(Number::parse(right).unwrap());
        let reverse = Number::parse(right).unwrap().compare(Number::parse(left).unwrap());
        assert_eq!(order, reverse.reverse(), "{left} {right}");
        order
    }

    #[test]
    fn the_same_value_is_equal_in_every_spelling() {
        let spellings = [
            &["1", "1.0", "10e-1", "0.1e1", "0.0001E+4", "1000e-0003", "1.000e0"][..],
            &["0", "-0", "0.0", "0e5", "-0.000e-99999999999999999999999999"],
            &["-120", "-1.2e2", "-12E1", "-0.12e3", "-1200e-1"],
            &["1e400", "10e399", "0.01e402"],
            &[
                "1e100000000000000000000000000000000000000000001",
                "10e100000000000000000000000000000000000000000000",
            ],
        ];
        for same in spellings {
            for left in same {
                for right in same {
                    assert_eq!(compare(left, right), Ordering::Equal, "{left} {right}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_ordered_by_value_far_beyond_what_a_float_holds() {
        let ascending = [
            "-1e99999999999999999999999999999999999999999999",
            "-1e400",
            "-9007199254740993",
            "-9007199254740992",
            "-1.5",
            "-1",
            "-0.5",
            "-1e-99999999999999999999",
            "0",
            "1e-99999999999999999999999999999999999999999999999",
            "1e-99999999999999999999999999999999999999999999998",
            "0.0999999",
            "0.1",
            "0.10000000000000000000000000000000000000000001",
            "7",
            "10",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "1e308",
            "1e309",
            "1.00000000000000000000000000000000001e309",
            "1e99999999999999999999999999999999999999999999",
            "1e100000000000000000000000000000000000000000000",
        ];
        for (left_place, left) in ascending.iter().enumerate() {
            for (right_place, right) in ascending.iter().enumerate() {
                assert_eq!(compare(left, right), left_place.cmp(&right_place), "{left} {right}");
            }
        }
    }

    #[test]
    fn only_a_whole_json_number_is_one() {
        for bad in ["", "-", "01", "1 ", " 1", "1.", "NaN", "0x10", "1e", "--1", "1,2"] {
            assert!(Number::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(Number::parse("1.50").unwrap().as_str(), "1.50");
    }
}
