//! Configuration: one TOML file becomes typed settings, or a list of everything that is wrong with it.
//!
//! [`load`] is the way in. It parses the file, fills in environment variables (`environment.rs`), reads every
//! section through a [`Section`] (`file.rs`, `components.rs`, `routes.rs`, `conditions.rs`) and finally looks at
//! the file as a whole (`checks.rs`). Problems never stop the reading: they are collected as [`Diagnostics`], each
//! with the place in the file, and shown together.
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
mod http;
mod masking;
pub mod parameters;
mod planned;
mod quantities;
pub mod reader;
pub mod reference;
mod routes;
pub mod settings;
mod suggest;
pub mod types;

pub use addresses::Address;
pub use diagnostics::{Diagnostic, Diagnostics, Severity, Source};
pub use file::{Kind, load, load_api, load_with_environment};
pub use http::{HttpHeaders, HttpUrl};
pub use parameters::ParameterDoc;
pub use quantities::ByteSize;
pub use reader::{FromConfig, Schema, Section};
pub use settings::{
    Api, BufferSettings, Configuration, DecoderSettings, EndpointComponent, InputComponent, Limits, Rejects,
    Route, WhenFull,
};
pub use types::Secret;

pub(crate) use self::file::kind;
pub use crate::{acknowledgement::Ack, choices, parameters};
