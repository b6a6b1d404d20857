//! The types that a configuration value can have.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use toml::de::DeValue;

use super::{
    diagnostics::Diagnostics,
    reader::{FromConfig, Schema, Value},
};

/// The text of a string value; anything else is reported.
pub fn text<'v, T: FromConfig>(value: &'v Value<'_>, diagnostics: &mut Diagnostics) -> Option<&'v str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        diagnostics.wrong_type::<T>(value);
    }
    text
}

/// Reads a string with `parse`; its error is shown at the value.
fn parsed<T: FromConfig>(
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

/// A number of bytes: `"8MiB"`, or a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// From the largest; [`fmt::Display`] takes the first that leaves a whole number.
const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl ByteSize {
    /// So many times 1,024 bytes.
    pub const fn kib(count: u64) -> ByteSize {
        ByteSize(count << 10)
    }

    /// So many times 1,048,576 bytes.
    pub const fn mib(count: u64) -> ByteSize {
        ByteSize(count << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    fn parse(text: &str) -> Result<ByteSize, String> {
        let (count, unit) = number_and_unit(text)?;
        let found = SIZE_UNITS.iter().find(|(name, _)| *name == unit);
        let Some((_, factor)) = found else {
            return Err(match unit.chars().next().map(|letter| letter.to_ascii_uppercase()) {
                None => "the unit is missing: B, KiB, MiB, GiB or TiB".to_owned(),
                Some(letter @ ('K' | 'M' | 'G' | 'T')) => {
                    format!("`{unit}` is no unit; did you mean `{letter}iB`?")
                }
                Some(_) => format!("`{unit}` is no unit: B, KiB, MiB, GiB or TiB"),
            });
        };
        count.checked_mul(*factor).map(ByteSize).ok_or_else(|| "too large".to_owned())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |&&(_, factor): &&(&str, u64)| self.0 >= factor && self.0.is_multiple_of(factor);
        let (unit, factor) = SIZE_UNITS.iter().find(whole).copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// `"250ms"` → 250 and `"ms"`.
fn number_and_unit(text: &str) -> Result<(u64, &str), String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("this does not start with a whole number".to_owned());
    }
    if unit.starts_with(['.', ',', '_']) {
        return Err("the number must be whole; take a smaller unit".to_owned());
    }
    let count = number.parse().map_err(|_| "too large".to_owned())?;
    Ok((count, unit.trim_start()))
}

impl FromConfig for ByteSize {
    fn expected() -> String {
        "a size such as \"8MiB\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<ByteSize> {
        if value.get_ref().is_integer() {
            return whole_number::<ByteSize>(value, u64::MAX, diagnostics).map(ByteSize);
        }
        parsed(value, diagnostics, ByteSize::parse)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }

    fn schema() -> Schema {
        Schema::Size
    }
}

/// From the smallest, in microseconds.
const TIME_UNITS: [(&str, u64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

fn parse_duration(text: &str) -> Result<Duration, String> {
    let (count, unit) = number_and_unit(text)?;
    match TIME_UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => {
            count.checked_mul(*factor).map(Duration::from_micros).ok_or_else(|| "too long".to_owned())
        }
        None if unit.is_empty() => Err("the unit is missing: us, ms, s, m, h or d".to_owned()),
        None => Err(format!("`{unit}` is no unit: us, ms, s, m, h or d")),
    }
}

impl FromConfig for Duration {
    fn expected() -> String {
        "a time such as \"50ms\", \"1s\" or \"2m\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Duration> {
        if value.get_ref().is_integer() {
            diagnostics.invalid::<Duration>(value, "the unit is missing: us, ms, s, m, h or d, in quotes");
            return None;
        }
        parsed(value, diagnostics, parse_duration)
    }

    fn to_toml(&self) -> String {
        let micros = self.as_micros();
        let whole = |&&(_, factor): &&(&str, u64)| micros > 0 && micros.is_multiple_of(u128::from(factor));
        let (unit, factor) = TIME_UNITS.iter().rev().find(whole).copied().unwrap_or(("s", 1_000_000));
        quoted(&format!("{}{unit}", micros / u128::from(factor)))
    }
}

impl FromConfig for SocketAddr {
    fn expected() -> String {
        "an IP address and a port such as \"127.0.0.1:5565\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<SocketAddr> {
        parsed(value, diagnostics, |text| {
            text.parse().map_err(|_| match text.rsplit_once(':') {
                None => "the port is missing".to_owned(),
                Some(("", _)) => {
                    "the IP address is missing: 127.0.0.1 is this machine only, 0.0.0.0 every network"
                        .to_owned()
                }
                Some((_, port)) if port.parse::<u16>().is_err() => {
                    "the port is not a number up to 65535".to_owned()
                }
                Some(("localhost", _)) => "a name is not looked up here: write 127.0.0.1 or [::1]".to_owned(),
                Some(_) => {
                    "a name is not looked up here: write the IP address of one of this machine's networks"
                        .to_owned()
                }
            })
        })
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// Where to connect to: a host name or IP address, and a port. The name is looked up when connecting.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name or an IP address (an IPv6 address without its brackets).
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

impl Address {
    /// Reads `host:port` or `[IPv6 address]:port`.
    pub fn parse(text: &str) -> Result<Address, String> {
        if text.contains("://") {
            return Err("only host and port, without a scheme".to_owned());
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err("the port is missing".to_owned());
        };
        let port = port.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| "the port is not a number from 1 to 65535".to_owned())?;
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let known = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        match inner {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => {
                Ok(Address { host: inner.to_owned(), port })
            }
            Some(_) => Err("what is in brackets is not an IPv6 address".to_owned()),
            None if host.is_empty() => Err("the host is missing".to_owned()),
            None if host.contains(':') => Err("an IPv6 address needs brackets, as in [::1]:8125".to_owned()),
            None if !host.chars().all(known) => Err("this is not a host name".to_owned()),
            None => Ok(Address { host: host.to_owned(), port }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromConfig for Address {
    fn expected() -> String {
        "a host and a port such as \"localhost:8125\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Address> {
        parsed(value, diagnostics, Address::parse)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
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
        parsed(value, diagnostics, |text| match text.trim() {
            "" => Err("this is empty and protects nothing".to_owned()),
            _ => Ok(Secret(text.to_owned())),
        })
    }

    fn to_toml(&self) -> String {
        String::new()
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
fn whole_number<T: FromConfig>(
    value: &Value<'_>,
    maximum: u64,
    diagnostics: &mut Diagnostics,
) -> Option<u64> {
    let number = match value.get_ref() {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        DeValue::String(text) if diagnostics.is_from_environment(&value.span()) => text.parse().ok(),
        _ => {
            diagnostics.wrong_type::<T>(value);
            return None;
        }
    };
    let number = number.filter(|number| *number <= maximum);
    if number.is_none() {
        diagnostics.invalid::<T>(value, "out of range");
    }
    number
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
