//! Two macros that declare what a configuration section takes, once: the struct that the code uses, the
//! reader that checks the file, and the description that the reference page and the JSON Schema are made of.
//!
//! ```
//! use metlog_router::config::{ByteSize, choices, parameters};
//!
//! choices! {
//!     /// How a line is written.
//!     pub enum Format {
//!         /// As JSON.
//!         Json = "json",
//!         /// As text.
//!         Text = "text",
//!     }
//! }
//!
//! parameters! {
//!     /// Writes messages to a file.
//!     pub struct Parameters {
//!         /// Where to write. No default: the key is required.
//!         pub path: String,
//!         /// How to write. The default stands after `=`.
//!         pub format: Format = Format::Json,
//!         /// When to begin a new file. An `Option` without default may be left out.
//!         pub rotate_at: Option<ByteSize>,
//!     }
//! }
//!
//! assert_eq!(Parameters::docs()[1].default.as_deref(), Some("\"json\""));
//! ```
//!
//! `Parameters::read(&mut section)` reads all keys, so that every problem is reported, before it gives up;
//! `read_and_check` goes on to what is wrong with keys together. A struct declared like this is itself a value and can be nested as an inline table.

use toml::de::DeTable;

use super::{
    Diagnostics,
    reader::{FromConfig, Schema},
};

/// What the reference page says about one key.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterDoc {
    /// The key.
    pub name: &'static str,
    /// Its doc comment.
    pub doc: String,
    /// What it takes: `a size such as "8MiB"`.
    pub expected: String,
    /// The shape of the value.
    pub schema: Schema,
    /// The default as the file would say it.
    pub default: Option<String>,
    /// Whether it must be given.
    pub required: bool,
}

impl ParameterDoc {
    /// The description of a key of type `T`.
    pub fn of<T: FromConfig>(name: &'static str, doc: &str, default: Option<T>) -> ParameterDoc {
        ParameterDoc {
            name,
            doc: tidy(doc),
            expected: T::expected(),
            schema: T::schema(),
            required: default.is_none() && T::absent().is_none(),
            default: default.map(|value| value.to_toml()).filter(|text| !text.is_empty()),
        }
    }
}

/// A value for a key that cannot be read, so that the others can be checked together: that of a key that is left out, or else what
/// `sample` says.
pub fn stand_in<T: FromConfig>(sample: &str, key: &str) -> Option<T> {
    T::absent().or_else(|| {
        let sample = DeTable::parse(sample).ok()?;
        T::from_config(sample.get_ref().get(key)?, &mut Diagnostics::new())
    })
}

/// Doc comments as they were written, without the space after each `///`.
pub fn tidy(doc: &str) -> String {
    let lines: Vec<&str> =
        doc.trim_end().lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n")
}

/// The text of a table from its keys and values; keys without a value are left out.
pub fn inline_table(entries: &[(&str, String)]) -> String {
    let shown: Vec<String> = entries
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    if shown.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", shown.join(", ")) }
}

/// Declares the keys of a section. See the [module](self) for the syntax.
#[macro_export]
macro_rules! parameters {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                pub $field:ident : $type:ty $(= $default:expr)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )*
        }

        #[allow(dead_code, reason = "which of these are used differs from one declaration to the next")]
        impl $name {
            /// Reads all keys; `None` where one of them could not be read.
            pub fn read(section: &mut $crate::config::Section<'_>) -> Option<Self> {
                let _ = &section;
                $( let $field = $crate::parameters!(@read section, $field, $type $(, $default)?); )*
                Some(Self { $( $field: $field?, )* })
            }

            /// As [`Self::read`], and has `check` report what is wrong with keys together. Where some cannot be read, this is done
            /// with stand-ins for them, their defaults or what `sample` says, so that everything is said at once; what
            /// follows from a stand-in is not.
            pub fn read_and_check(
                section: &mut $crate::config::Section<'_>,
                sample: &str,
                check: impl FnOnce(&Self, &mut $crate::config::Section<'_>),
            ) -> Option<Self> {
                let _ = (&section, sample);
                $( let $field = $crate::parameters!(@read section, $field, $type $(, $default)?); )*
                let keys: Vec<(&'static str, bool)> =
                    vec![$( ($crate::parameters!(@key $field), $field.is_some()) ),*];
                let unread: Vec<&'static str> =
                    keys.into_iter().filter_map(|(key, is_read)| (!is_read).then_some(key)).collect();
                $( let $field = match $field {
                    Some(value) => value,
                    None => $crate::parameters!(@stand_in sample, $field, $type $(, $default)?)?,
                }; )*
                let all = Self { $( $field, )* };
                section.check_without(&unread, |section| check(&all, section));
                unread.is_empty().then_some(all)
            }

            /// The keys, described.
            pub fn docs() -> Vec<$crate::config::ParameterDoc> {
                vec![ $(
                    $crate::config::ParameterDoc::of::<$type>(
                        $crate::parameters!(@key $field),
                        concat!($($doc, "\n"),+),
                        $crate::parameters!(@default $($default)?),
                    ),
                )* ]
            }
        }

        impl $crate::config::FromConfig for $name {
            fn expected() -> String {
                let keys: Vec<&str> = vec![$( $crate::parameters!(@key $field) ),*];
                format!("a table with the keys {}", keys.join(", "))
            }

            fn from_config(
                value: &$crate::config::reader::Value<'_>,
                diagnostics: &mut $crate::config::Diagnostics,
            ) -> Option<Self> {
                let mut section = $crate::config::Section::of_value::<Self>(value, diagnostics)?;
                let read = Self::read(&mut section);
                section.finish();
                read
            }

            fn to_toml(&self) -> String {
                $crate::config::parameters::inline_table(&[
                    $( ($crate::parameters!(@key $field), $crate::config::FromConfig::to_toml(&self.$field)), )*
                ])
            }

            fn schema() -> $crate::config::Schema {
                $crate::config::Schema::Table(Self::docs())
            }
        }
    };
    (@read $section:ident, $field:ident, $type:ty) => {
        $section.required::<$type>($crate::parameters!(@key $field))
    };
    (@read $section:ident, $field:ident, $type:ty, $default:expr) => {
        $section.or_default::<$type>($crate::parameters!(@key $field), $default)
    };
    (@stand_in $sample:ident, $field:ident, $type:ty) => {
        $crate::config::parameters::stand_in::<$type>($sample, $crate::parameters!(@key $field))
    };
    (@stand_in $sample:ident, $field:ident, $type:ty, $default:expr) => { Some::<$type>($default) };
    (@default) => { None };
    (@default $default:expr) => { Some($default) };
    // A key that is a word of Rust is declared as r#type.
    (@key $field:ident) => {{
        const KEY: &str = stringify!($field);
        match KEY.strip_prefix("r#") {
            Some(key) => key,
            None => KEY,
        }
    }};
}

/// Declares a value that is one of a few words. See the [module](self) for the syntax.
#[macro_export]
macro_rules! choices {
    (
        $(#[doc = $about:literal])+
        pub enum $name:ident {
            $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal ),+ $(,)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[doc = $doc])+ $variant, )+
        }

        #[allow(dead_code, reason = "which of these are used differs from one declaration to the next")]
        impl $name {
            /// Every choice, in the order of their declaration.
            pub const ALL: &'static [$name] = &[$( $name::$variant ),+];

            /// The word in the configuration file.
            pub fn as_str(self) -> &'static str {
                match self { $( $name::$variant => $word, )+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::config::FromConfig for $name {
            fn expected() -> String {
                $crate::config::parameters::one_of(&[$( $word ),+])
            }

            fn from_config(
                value: &$crate::config::reader::Value<'_>,
                diagnostics: &mut $crate::config::Diagnostics,
            ) -> Option<Self> {
                let position = $crate::config::parameters::choose::<Self>(value, &[$( $word ),+], diagnostics)?;
                Self::ALL.get(position).copied()
            }

            fn to_toml(&self) -> String {
                format!("{:?}", self.as_str())
            }

            fn schema() -> $crate::config::Schema {
                $crate::config::Schema::Choice(vec![
                    $( ($word, $crate::config::parameters::tidy(concat!($($doc, "\n"),+))), )+
                ])
            }
        }
    };
}

/// `"a", "b" or "c"`.
pub fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Which of `words` the value is, by position.
pub fn choose<T: FromConfig>(
    value: &super::reader::Value<'_>,
    words: &[&str],
    diagnostics: &mut super::Diagnostics,
) -> Option<usize> {
    let Some(text) = value.get_ref().as_str() else {
        diagnostics.wrong_type::<T>(value);
        return None;
    };
    let position = words.iter().position(|word| *word == text);
    if let (None, Some(instead)) = (position, super::planned::instead_of_word(diagnostics.key(), text)) {
        let message = format!("`{} = \"{text}\"` is not available in this version", diagnostics.key());
        diagnostics.error(value.span(), message).help(instead);
    } else if position.is_none() {
        let reason = match super::suggest::nearest(text, words.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => "not one of these".to_owned(),
        };
        diagnostics.invalid::<T>(value, reason);
    }
    position
}
