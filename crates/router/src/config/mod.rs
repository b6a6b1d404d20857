//! Configuration: a TOML file, and those that it includes, become typed settings, or a list of everything that is wrong with it.
//!
//! [`load_file`] is the way in, and [`load`] that for a text in memory. They parse the file (`sources.rs`, `syntax.rs`), fill in environment
//! variables (`environment.rs`), do the same with what it includes (`include.rs`), read every section through a [`Section`]
//! (`file.rs`, `components.rs`, `routes.rs`, `conditions.rs`) and finally look at the whole (`checks.rs`). Problems never
//! stop the reading: they are collected as [`Diagnostics`], each with the place in its file, and shown together.
//!
//! A kind of input or endpoint declares its keys with [`parameters!`](crate::parameters); nothing in this
//! module knows any kind by name, they come in as slices of [`Kind`].

mod addresses;
mod checks;
mod components;
pub mod conditions;
pub mod diagnostics;
mod environment;
pub mod file;
mod fingerprint;
mod http;
mod include;
pub mod json_schema;
mod masking;
pub mod parameters;
mod planned;
mod quantities;
pub mod reader;
pub mod reference;
mod routes;
pub mod settings;
mod sources;
pub(crate) mod suggest;
mod syntax;
pub mod tests_section;
pub mod types;

pub use addresses::Address;
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use file::{Kind, load, load_api, load_file, load_with_environment};
pub use fingerprint::Fingerprint;
pub use http::{HttpHeaders, HttpUrl};
pub use parameters::ParameterDoc;
pub use quantities::ByteSize;
pub use reader::{FromConfig, Schema, Section};
pub use settings::{
    Api, BufferSettings, Configuration, DecoderSettings, EndpointComponent, InputComponent, Limits, Rejects,
    Route, WhenFull,
};
pub use sources::{Source, SourceError};
pub use suggest::{is_key_of_messages, nearest};
pub use types::Secret;

pub(crate) use self::file::kind;
pub use crate::{acknowledgement::Ack, choices, parameters};
