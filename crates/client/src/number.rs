//! The value of a metric, whatever number type an application has it in.

use crate::Payload;

/// The value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Number {
    /// A whole number.
    Integer(i64),
    /// A whole number that may not fit an `i64`.
    Unsigned(u64),
    /// Any number.
    Float(f64),
}

impl Number {
    pub(crate) fn payload(self) -> Payload<'static> {
        match self {
            Number::Integer(number) => Payload::Integer(number),
            Number::Unsigned(number) => Payload::Unsigned(number),
            Number::Float(number) => Payload::Float(number),
        }
    }
}

macro_rules! number_from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Number {
            fn from(value: $from) -> Number {
                Number::$variant(value.into())
            }
        }
    )*};
}

number_from! {
    i8 => Integer, i16 => Integer, i32 => Integer, i64 => Integer,
    u8 => Unsigned, u16 => Unsigned, u32 => Unsigned, u64 => Unsigned,
    f32 => Float, f64 => Float,
}

impl From<usize> for Number {
    fn from(value: usize) -> Number {
        Number::Unsigned(value as u64)
    }
}

impl From<isize> for Number {
    fn from(value: isize) -> Number {
        Number::Integer(value as i64)
    }
}
