//! Reads the whole file: the top-level keys, the inputs, the endpoints, and hands the rest on.

use std::{path::Path, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::{
    Ack, Api, BufferSettings, Configuration, DecoderSettings, Diagnostics, EndpointComponent, InputComponent,
    Limits, ParameterDoc, Rejects, Section, Source, checks, components, environment, include, routes,
    settings::{DecoderName, EndpointKeys, General, InputKeys, LineDecoder},
    sources::Placed,
    suggest,
    syntax::Stumbles,
    tests_section,
};

/// A kind of input or endpoint, as a registry lists it. `S` is the trait of its settings.
#[derive(Debug)]
pub struct Kind<S: ?Sized> {
    /// The word after `kind =`.
    pub name: &'static str,
    /// What it is for, in one sentence.
    pub summary: &'static str,
    /// The keys that it takes.
    pub docs: fn() -> Vec<ParameterDoc>,
    /// The body of a section of this kind, as an example.
    pub sample: &'static str,
    /// Reads those keys. Keys that every input or endpoint has are read already.
    pub read: fn(&mut Section<'_>) -> Option<Box<S>>,
}

/// A registry's entry: the settings trait, the kind's name, the module that declares it (with its `Parameters` and
/// `SAMPLE`), and what it is in a few words.
macro_rules! kind {
    ($settings:ident, $name:literal, $module:ident, $summary:literal) => {
        $crate::config::Kind {
            name: $name,
            summary: $summary,
            docs: $module::Parameters::docs,
            sample: $module::SAMPLE,
            read: |section: &mut $crate::config::Section<'_>| {
                let check = |parameters: &$module::Parameters, section: &mut $crate::config::Section<'_>| {
                    parameters.check_section(section);
                };
                let parameters = $module::Parameters::read_and_check(section, $module::SAMPLE, check)?;
                Some(Box::new(parameters) as Box<dyn $settings>)
            },
        }
    };
}
pub(crate) use kind;

impl<S: ?Sized> Kind<S> {
    /// Reads the body of a section, as [`Kind::sample`] has one, for tests of a kind. The error is what an
    /// operator would be shown.
    pub fn read_body(&self, body: &str) -> Result<Box<S>, String> {
        let mut diagnostics = Diagnostics::new();
        let placed = diagnostics.add_source(Arc::new(Source::new(self.name, body)));
        diagnostics.mask().add_keys(&(self.docs)());
        let table = parse(&placed, &mut diagnostics);
        let mut section = Section::new(self.name, 0..body.len(), &table, &mut diagnostics);
        for key in ["kind", "decoder", "allow_meta", "buffer"] {
            section.value(key);
        }
        let settings = (self.read)(&mut section);
        section.finish();
        diagnostics.settle();
        match settings {
            Some(settings) if !diagnostics.has_errors() => Ok(settings),
            _ => Err(diagnostics.render(false)),
        }
    }
}

/// Reads a configuration file and those that it includes. There is a configuration if and only if the diagnostics have no
/// errors; a file that cannot be read is one.
pub fn load_file<I: ?Sized, E: ?Sized>(
    path: &Path,
    inputs: &[Kind<I>],
    endpoints: &[Kind<E>],
) -> (Option<Configuration<I, E>>, Diagnostics) {
    match Source::read(path) {
        Ok(source) => load(&source, inputs, endpoints),
        Err(error) => {
            let path = path.display().to_string();
            let mut diagnostics = Diagnostics::new();
            let problem = diagnostics.error(0..0, format!("cannot read {path}: {error}"));
            if let Some(help) = error.help(&path) {
                problem.help(help);
            }
            (None, diagnostics)
        }
    }
}

/// As [`load_file`], from a text in memory. What it includes is looked for from its path.
pub fn load<I: ?Sized, E: ?Sized>(
    source: &Source,
    inputs: &[Kind<I>],
    endpoints: &[Kind<E>],
) -> (Option<Configuration<I, E>>, Diagnostics) {
    load_with_environment(source, inputs, endpoints, &|name| std::env::var(name).ok())
}

/// As [`load`], with environment variables from elsewhere.
pub fn load_with_environment<I: ?Sized, E: ?Sized>(
    source: &Source,
    inputs: &[Kind<I>],
    endpoints: &[Kind<E>],
    variable: &dyn Fn(&str) -> Option<String>,
) -> (Option<Configuration<I, E>>, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    let mask = diagnostics.mask();
    mask.add_section("api", Api::docs());
    mask.add_kinds("inputs", inputs, &[InputKeys::docs(), LineDecoder::docs()].concat());
    mask.add_kinds("endpoints", endpoints, &EndpointKeys::docs());
    let configuration = with_whole(source, variable, &mut diagnostics, |table, diagnostics| {
        Root { inputs, endpoints }.read(table, diagnostics)
    });
    diagnostics.settle();
    (configuration.filter(|_| !diagnostics.has_errors()), diagnostics)
}

/// Reads only the `[api]` section, for commands that talk to the router that runs with this file: they must find it even
/// if the rest of the file is wrong at the moment. `None` where there is no such section, or it cannot be read.
pub fn load_api(source: &Source) -> Option<Api> {
    let mut diagnostics = Diagnostics::new();
    diagnostics.mask().add_keys(&Api::docs());
    with_whole(source, &|name| std::env::var(name).ok(), &mut diagnostics, |table, diagnostics| {
        Section::new("", 0..0, table, diagnostics).optional::<Api>("api")
    })
}

/// Hands on what a file and those that it includes say together, with environment variables filled in.
fn with_whole<T>(
    source: &Source,
    variable: &dyn Fn(&str) -> Option<String>,
    diagnostics: &mut Diagnostics,
    read: impl FnOnce(&DeTable<'_>, &mut Diagnostics) -> T,
) -> T {
    let main = diagnostics.add_source(Arc::new(source.clone()));
    let table = parse(&main, diagnostics);
    let mut table = environment::substitute(table, variable, diagnostics);
    let included: Vec<Placed> = include::read(source, &table, diagnostics)
        .into_iter()
        .map(|source| diagnostics.add_source(source))
        .collect();
    for placed in &included {
        let part = parse(placed, diagnostics);
        let part = environment::substitute(part, variable, diagnostics);
        include::merge(&mut table, part, diagnostics);
    }
    read(&table, diagnostics)
}

/// Parses as far as possible. What cannot be parsed is reported, once per line, and the rest is still looked at.
fn parse<'s>(placed: &'s Placed, diagnostics: &mut Diagnostics) -> DeTable<'s> {
    let text = &placed.source.text;
    let (table, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    let mut stumbles = Stumbles::new(placed);
    for error in errors {
        stumbles.report(error.span(), error.message(), diagnostics);
    }
    let table = placed.place(table.into_inner());
    diagnostics.mask().add_file(&table);
    table
}

struct Root<'k, I: ?Sized, E: ?Sized> {
    inputs: &'k [Kind<I>],
    endpoints: &'k [Kind<E>],
}

impl<I: ?Sized, E: ?Sized> Root<'_, I, E> {
    fn read(&self, table: &DeTable<'_>, diagnostics: &mut Diagnostics) -> Option<Configuration<I, E>> {
        let routes_misplaced = note_misplaced(table, diagnostics);
        let mut root = Section::new("", 0..0, table, diagnostics);
        // `include` was followed before; here its type is checked.
        let general = General::read(&mut root);
        let limits = root.or_all_defaults::<Limits>("limits");
        let rejects = root.or_all_defaults::<Rejects>("rejects");
        let api = root.required::<Option<Api>>("api");
        let inputs = components::read(&mut root, "inputs", self.inputs, input);
        let endpoints = components::read(&mut root, "endpoints", self.endpoints, endpoint);
        let names: Vec<&str> = endpoints.iter().map(|declared| declared.name.as_str()).collect();
        let routes = routes::read(&mut root, &names);
        let input_names: Vec<&str> = inputs.iter().map(|declared| declared.name.as_str()).collect();
        let tests = tests_section::read(&mut root, &input_names, &names);
        root.finish();

        if !diagnostics.is_incomplete() {
            let file = checks::File {
                table,
                threads: general.as_ref().and_then(|general| general.threads),
                limits: limits.as_ref(),
                rejects: rejects.as_ref(),
                api: api.as_ref().and_then(Option::as_ref),
                input_kinds: self.inputs,
                inputs: &inputs,
                endpoints: &endpoints,
                routes: &routes,
                routes_misplaced,
            };
            file.check(diagnostics);
        }
        let General { include: _, data_dir, threads, shutdown_timeout } = general?;
        Some(Configuration {
            data_dir,
            limits: limits?,
            shutdown_timeout,
            threads,
            inputs: inputs.into_iter().map(|declared| declared.component).collect::<Option<_>>()?,
            endpoints: endpoints.into_iter().map(|declared| declared.component).collect::<Option<_>>()?,
            routes: routes.into_iter().map(|declared| declared.route).collect::<Option<_>>()?,
            tests: tests.into_iter().collect::<Option<_>>()?,
            rejects: rejects?,
            api: api?,
        })
    }
}

/// Notes what stands under misspelt headings: that nothing defines it is no news beside the misspelling. Returns whether there
/// are routes among it.
fn note_misplaced(table: &DeTable<'_>, diagnostics: &mut Diagnostics) -> bool {
    let mut routes = false;
    for (heading, value) in table {
        match (suggest::section_meant(heading.get_ref()), value.get_ref()) {
            (Some("routes"), _) => routes = true,
            (Some(_), DeValue::Table(entries)) => {
                diagnostics.are_misplaced(entries.keys().map(|name| name.get_ref().to_string()));
            }
            _ => {}
        }
    }
    routes
}

fn input<I: ?Sized>(name: &str, kind: &Kind<I>, section: &mut Section<'_>) -> Option<InputComponent<I>> {
    let keys = InputKeys::read(section);
    let decoder = match &keys {
        Some(keys) => decoder(keys.decoder, section),
        None => {
            // Whether they belong here depends on the decoder, which nobody knows.
            for key in ["logger", "severity"] {
                section.value(key);
            }
            None
        }
    };
    let (own, common) = section.fingerprints();
    let settings = (kind.read)(section);
    Some(InputComponent {
        name: name.to_owned(),
        kind: kind.name,
        settings: settings?,
        decoder: decoder?,
        allow_meta: keys?.allow_meta,
        own,
        common,
    })
}

/// `logger` and `severity` belong to the line decoder only: messages bring their own.
fn decoder(name: DecoderName, section: &mut Section<'_>) -> Option<DecoderSettings> {
    match name {
        DecoderName::Line => {
            let check = |keys: &LineDecoder, section: &mut Section<'_>| {
                if keys.severity > 7 {
                    let span = section.span_of("severity");
                    section.diagnostics().error(span, "`severity` goes from 0 (emergency) to 7 (debug)");
                }
            };
            let LineDecoder { logger, severity } = LineDecoder::read_and_check(section, "", check)?;
            Some(DecoderSettings::Line { logger, severity })
        }
        DecoderName::Json | DecoderName::Msgpack => {
            for key in ["logger", "severity"] {
                if let Some(value) = section.value(key) {
                    let message = format!("`{key}` is only used with `decoder = \"line\"`");
                    let problem = section.diagnostics().error(value.span(), message);
                    problem.help(format!(
                        "messages bring their own `{key}`: remove the key, or set the decoder"
                    ));
                }
            }
            Some(if name == DecoderName::Json { DecoderSettings::Json } else { DecoderSettings::Msgpack })
        }
    }
}

fn endpoint<E: ?Sized>(
    name: &str,
    kind: &Kind<E>,
    section: &mut Section<'_>,
) -> Option<EndpointComponent<E>> {
    let buffer = section.or_all_defaults::<BufferSettings>("buffer");
    let ack = section.required::<Option<Ack>>("ack");
    let (own, common) = section.fingerprints();
    let settings = (kind.read)(section);
    Some(EndpointComponent {
        name: name.to_owned(),
        kind: kind.name,
        settings: settings?,
        buffer: buffer?,
        ack: ack?,
        own,
        common,
    })
}
