//! The types that a configuration value can have: text, numbers, lists. Values with a unit are in
//! `quantities.rs`, addresses in `addresses.rs`.

use std::{fmt, ops::Range, path::PathBuf};

use toml::de::DeValue;

use super::{
    diagnostics::Diagnostics,
    reader::{FromConfig, Schema, Value},
};

pub use super::{addresses::Address, quantities::ByteSize};

/// The text of a string value; anything else is reported.
pub fn text<'v, T: FromConfig>(value: &'v Value<'_>, diagnostics: &mut Diagnostics) -> Option<&'v str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        diagnostics.wrong_type::<T>(value);
    }
    text
}

/// Reads a string with `parse`; its error is shown at the value.
pub fn parsed<T: FromConfig>(
    value: &Value<'_>,
    diagnostics: &mut Diagnostics,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    match parse(text::<T>(value, diagnostics)?) {
        Ok(read) => Some(read),
        Err(reason) => {
            diagnostics.invalid::<T>(value, reason);
            None
        }
    }
}

/// A TOML basic string.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A password or token: never shown in logs or diagnostics.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

impl FromConfig for Secret {
    fn expected() -> String {
        "a secret, best from the environment as in \"${METLOG_TOKEN}\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Secret> {
        diagnostics.mask().add_value(value.span());
        parsed(value, diagnostics, |text| match text.trim() {
            "" => Err("this is empty and protects nothing".to_owned()),
            _ => Ok(Secret(text.to_owned())),
        })
    }

    fn to_toml(&self) -> String {
        String::new()
    }

    fn schema() -> Schema {
        Schema::Secret
    }
}

impl FromConfig for String {
    fn expected() -> String {
        "a string".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<String> {
        text::<String>(value, diagnostics).map(str::to_owned)
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl FromConfig for PathBuf {
    fn expected() -> String {
        "a path such as \"/var/lib/metlog\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<PathBuf> {
        if let Some(text) = value.get_ref().as_str() {
            warn_of_tilde(text, value.span(), diagnostics);
        }
        parsed(value, diagnostics, |text| match text {
            "" => Err("this is empty".to_owned()),
            path if path.contains('\0') => Err("a path has no NUL bytes".to_owned()),
            path => Ok(PathBuf::from(path)),
        })
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

/// Warns of a path that begins with `~`: only a shell knows what that is.
pub fn warn_of_tilde(text: &str, span: Range<usize>, diagnostics: &mut Diagnostics) {
    let Some(rest) = text.strip_prefix('~') else { return };
    let (user, below) = rest.split_once('/').map_or((rest, ""), |(user, below)| (user, below));
    if below.is_empty() && !user.is_empty() {
        return;
    }
    let problem =
        diagnostics.warning(span, format!("`~` is not expanded: this is a folder that is called `~{user}`"));
    problem.help(match user {
        "" => format!("write the whole path, or \"${{HOME}}/{below}\""),
        _ => "write the whole path".to_owned(),
    });
}

impl FromConfig for metlog_message::Path {
    fn expected() -> String {
        "a path into a message such as \"fields.user.id\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        parsed(value, diagnostics, |text| {
            metlog_message::Path::parse(text).map_err(|error| error.to_string())
        })
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl FromConfig for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<bool> {
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            DeValue::String(text) if diagnostics.is_from_environment(&value.span()) => match &**text {
                "true" => Some(true),
                "false" => Some(false),
                _ => {
                    diagnostics.invalid::<bool>(value, "neither true nor false");
                    None
                }
            },
            _ => {
                diagnostics.wrong_type::<bool>(value);
                None
            }
        }
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }

    fn schema() -> Schema {
        Schema::Boolean
    }
}

/// A whole number from 0 to `maximum`. A string that came from the environment may hold one, because variables
/// have no other type.
pub(super) fn whole_number<T: FromConfig>(
    value: &Value<'_>,
    maximum: u64,
    diagnostics: &mut Diagnostics,
) -> Option<u64> {
    let number = match value.get_ref() {
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix()).ok(),
        DeValue::String(text) if diagnostics.is_from_environment(&value.span()) => {
            let Ok(number) = text.parse() else {
                diagnostics.invalid::<T>(value, "this is not a whole number");
                return None;
            };
            Some(number)
        }
        _ => {
            diagnostics.wrong_type::<T>(value);
            return None;
        }
    };
    // What does not even fit into 128 bits is too large as well.
    let number = number.unwrap_or(i128::MAX);
    let read = u64::try_from(number).ok().filter(|number| *number <= maximum);
    if read.is_none() {
        let reason = if number < 0 { "this is negative" } else { "this is too large" };
        diagnostics.invalid::<T>(value, reason);
    }
    read
}

macro_rules! whole_numbers {
    ($($type:ty),*) => { $(
        impl FromConfig for $type {
            fn expected() -> String {
                match <$type>::MAX as u64 {
                    maximum if maximum < 1 << 32 => format!("a whole number from 0 to {maximum}"),
                    _ => "a whole number".to_owned(),
                }
            }

            fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<$type> {
                let number = whole_number::<$type>(value, <$type>::MAX as u64, diagnostics)?;
                <$type>::try_from(number).ok()
            }

            fn to_toml(&self) -> String {
                self.to_string()
            }

            fn schema() -> Schema {
                Schema::Integer { maximum: <$type>::MAX as u64 }
            }
        }
    )* };
}

whole_numbers!(u8, u16, u32, u64, usize);

impl<T: FromConfig> FromConfig for Vec<T> {
    fn expected() -> String {
        format!("a list, each item {}", T::expected())
    }

    /// Reads every item, so that each wrong one is reported.
    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Vec<T>> {
        let DeValue::Array(items) = value.get_ref() else {
            diagnostics.wrong_type::<Vec<T>>(value);
            return None;
        };
        let read: Vec<Option<T>> = items.iter().map(|item| T::from_config(item, diagnostics)).collect();
        read.into_iter().collect()
    }

    fn to_toml(&self) -> String {
        let items: Vec<String> = self.iter().map(FromConfig::to_toml).collect();
        format!("[{}]", items.join(", "))
    }

    fn schema() -> Schema {
        Schema::List(Box::new(T::schema()))
    }
}

impl<T: FromConfig> FromConfig for Option<T> {
    fn expected() -> String {
        T::expected()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Option<T>> {
        T::from_config(value, diagnostics).map(Some)
    }

    fn to_toml(&self) -> String {
        self.as_ref().map(FromConfig::to_toml).unwrap_or_default()
    }

    fn schema() -> Schema {
        T::schema()
    }

    fn absent() -> Option<Option<T>> {
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a value written as TOML; the error is the label, or else the message.
    fn read<T: FromConfig>(text: &str) -> Result<T, String> {
        let value = DeValue::parse(text).unwrap();
        let mut diagnostics = Diagnostics::new();
        let read = T::from_config(&value, &mut diagnostics);
        let problem = diagnostics.iter().next();
        read.ok_or_else(|| problem.and_then(|problem| problem.label.clone()).unwrap_or_default())
    }

    #[test]
    fn numbers_have_the_range_of_their_type() {
        assert_eq!(read::<u8>("255"), Ok(255));
        assert_eq!(read::<u32>("0o644"), Ok(0o644));
        assert_eq!(read::<u64>("18_446_744_073_709_551_615"), Ok(u64::MAX));
        assert_eq!(read::<u8>("256").unwrap_err(), "this is too large");
        assert_eq!(read::<u64>("18446744073709551616").unwrap_err(), "this is too large");
        assert_eq!(
            read::<u64>("999999999999999999999999999999999999999999").unwrap_err(),
            "this is too large"
        );
        assert_eq!(read::<usize>("-1").unwrap_err(), "this is negative");
        assert_eq!(read::<u16>("1.0").unwrap_err(), "this is a decimal number");
        assert_eq!(read::<u16>("'1'").unwrap_err(), "this is a string");
    }

    #[test]
    fn text_lists_and_paths() {
        assert_eq!(read::<Vec<u8>>("[1, 2]"), Ok(vec![1, 2]));
        assert_eq!(read::<Option<bool>>("true"), Ok(Some(true)));
        assert_eq!(read::<PathBuf>("'a/b'"), Ok(PathBuf::from("a/b")));
        assert_eq!(read::<PathBuf>("''").unwrap_err(), "this is empty");
        assert_eq!(read::<Secret>("' '").unwrap_err(), "this is empty and protects nothing");
        assert_eq!(format!("{:?}", read::<Secret>("'hunter2'").unwrap()), "(not shown)");
        assert_eq!(read::<ByteSize>("4096"), Ok(ByteSize::kib(4)));
    }

    #[test]
    fn every_wrong_item_of_a_list_is_reported() {
        let value = DeValue::parse("[1, 'a', 300, 2]").unwrap();
        let mut diagnostics = Diagnostics::new();
        assert_eq!(Vec::<u8>::from_config(&value, &mut diagnostics), None);
        assert_eq!(diagnostics.errors(), 2);
    }

    #[test]
    fn strings_are_written_as_toml_reads_them() {
        for text in ["", "plain", "a \"b\" \\ c", "tab\there\nand\u{7f}", "\u{1F4E8}"] {
            assert_eq!(read::<String>(&quoted(text)).as_deref(), Ok(text));
        }
    }
}
