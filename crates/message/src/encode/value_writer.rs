//! Values of any shape in the writing: lists and objects within one another, without a tree of them.

use super::json::{FieldValue, write_value};
use super::members::{MemberBuffer, ObjectWriter};

/// Writes one value. Writing uses it up, so there is never a second one in its place.
///
/// ```
/// use metlog_message::encode::MemberBuffer;
///
/// let mut members = MemberBuffer::new();
/// members.write_with("stack", |value| {
///     value.array(|frames| {
///         frames.push_with(|frame| frame.object(|frame| frame.write("line", 7.into())));
///         frames.push("main".into());
///     })
/// });
/// assert_eq!(format!("{:?}", members.members()), r#"Members({"stack":[{"line":7},"main"]})"#);
/// ```
#[derive(Debug)]
pub struct ValueWriter<'b> {
    buffer: &'b mut MemberBuffer,
}

impl ValueWriter<'_> {
    /// Has `write` write a value at the end of `buffer`, `null` where it writes none.
    #[inline]
    pub(super) fn write<R>(buffer: &mut MemberBuffer, write: impl FnOnce(ValueWriter<'_>) -> R) -> R {
        let start = buffer.bytes.len();
        let result = write(ValueWriter { buffer });
        if buffer.bytes.len() == start {
            buffer.bytes.extend_from_slice(b"null");
        }
        result
    }

    /// Writes a single value.
    #[inline]
    pub fn value(self, value: FieldValue<'_>) {
        write_value(&mut self.buffer.bytes, value);
    }

    /// Writes a list, whose elements `write` adds. What `write` returns is returned.
    #[inline]
    pub fn array<R>(self, write: impl FnOnce(&mut ArrayWriter<'_>) -> R) -> R {
        let start = self.buffer.bytes.len();
        let result = write(&mut ArrayWriter { buffer: self.buffer });
        close(&mut self.buffer.bytes, start, b'[', b']');
        result
    }

    /// Writes an object, whose members `write` adds. What `write` returns is returned.
    #[inline]
    pub fn object<R>(self, write: impl FnOnce(&mut ObjectWriter<'_>) -> R) -> R {
        let start = self.buffer.bytes.len();
        let result = write(&mut ObjectWriter { buffer: self.buffer });
        close(&mut self.buffer.bytes, start, b'{', b'}');
        result
    }
}

/// Writes the elements of a list. It only adds, so that what is around the list stays whole.
#[derive(Debug)]
pub struct ArrayWriter<'b> {
    buffer: &'b mut MemberBuffer,
}

impl ArrayWriter<'_> {
    /// Adds an element.
    #[inline]
    pub fn push(&mut self, value: FieldValue<'_>) {
        self.push_with(|writer| writer.value(value));
    }

    /// Adds an element, and has `write` write it; see [`MemberBuffer::write_with`].
    #[inline]
    pub fn push_with<R>(&mut self, write: impl FnOnce(ValueWriter<'_>) -> R) -> R {
        self.buffer.bytes.push(b',');
        ValueWriter::write(self.buffer, write)
    }
}

/// Puts brackets around what was written from `start` on: each part has a comma in front, and the first comma becomes
/// the opening bracket.
#[inline]
fn close(bytes: &mut Vec<u8>, start: usize, open: u8, close: u8) {
    match bytes.get_mut(start) {
        Some(comma) => *comma = open,
        None => bytes.push(open),
    }
    bytes.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(buffer: &MemberBuffer) -> String {
        format!("{:?}", buffer.members())
    }

    #[test]
    fn lists_and_objects_nest_in_any_order_and_may_be_empty() {
        let mut members = MemberBuffer::new();
        members.write_with("a", |value| {
            value.array(|array| {
                array.push_with(|value| value.array(|_| {}));
                array.push_with(|value| value.object(|_| {}));
                array.push_with(|value| {
                    value.object(|object| {
                        object.write_with("b", |value| value.array(|array| array.push(1.into())))
                    })
                });
                array.push(2.into());
            })
        });
        members.write("c", true.into());
        assert_eq!(text(&members), r#"Members({"a":[[],{},{"b":[1]},2],"c":true})"#);
    }

    #[test]
    fn a_value_that_nobody_writes_is_null() {
        let mut members = MemberBuffer::new();
        members.write_with("a", |_| ());
        members.write_with("b", |value| value.array(|array| array.push_with(|_| ())));
        assert_eq!(text(&members), r#"Members({"a":null,"b":[null]})"#);
    }

    #[test]
    fn a_writer_that_gives_up_leaves_what_is_there_whole() {
        let mut members = MemberBuffer::new();
        let result: Result<(), &str> = members.write_with("a", |value| {
            value.array(|array| {
                array.push(1.into());
                array.push_with(|value| value.object(|_| Err("enough")))
            })
        });
        assert_eq!(result, Err("enough"));
        assert_eq!(text(&members), r#"Members({"a":[1,{}]})"#);
    }
}
