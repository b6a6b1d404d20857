//! The value of a metric, whatever number type an application has it in.

use crate::Payload;

/// The value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number.
    Integer(i64),
    /// Any number.
    Float(f64),
}

impl Number {
    pub(crate) fn payload(self) -> Payload<'static> {
        match self {
            Number::Integer(number) => Payload::Integer(number),
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

number_from!(i8 => Integer, i16 => Integer, i32 => Integer, i64 => Integer, u8 => Integer, u16 => Integer, u32 => Integer, f32 => Float, f64 => Float);

impl From<usize> for Number {
    fn from(value: usize) -> Number {
        // What is beyond an i64 is no count of anything; a float is near enough.
        i64::try_from(value).map_or(Number::Float(value as f64), Number::Integer)
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Number {
        i64::try_from(value).map_or(Number::Float(value as f64), Number::Integer)
    }
}
