//! Whether a section says the same as before: what a reload compares.
//!
//! It is taken from the values of the file after environment variables were filled in, whatever the order, notation or
//! comments. Only a keyed hash is kept: sections hold secrets, and a running router must not hold them twice.

use std::{
    collections::hash_map::{DefaultHasher, RandomState},
    fmt,
    fs::File,
    hash::{BuildHasher, Hash, Hasher},
    io::{self, Read},
    path::Path,
    sync::OnceLock,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What a section said, as far as it can be compared with what another one says in the same process.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint(u64);

/// The key is drawn once per process, so that a fingerprint tells nothing even to somebody who sees it.
static KEY: OnceLock<RandomState> = OnceLock::new();

impl Fingerprint {
    /// Of those entries of a table whose keys are `wanted`.
    pub(super) fn of(table: &DeTable<'_>, wanted: impl Fn(&str) -> bool) -> Fingerprint {
        let mut hasher = KEY.get_or_init(RandomState::new).build_hasher();
        entries(table, &wanted, &mut hasher);
        Fingerprint(hasher.finish())
    }

    /// The same with what these files hold at the moment: a certificate is renewed under the name that it had.
    pub fn and_files<'p>(self, files: impl IntoIterator<Item = &'p Path>) -> Fingerprint {
        let mut files = files.into_iter().peekable();
        if files.peek().is_none() {
            return self;
        }
        let mut hasher = KEY.get_or_init(RandomState::new).build_hasher();
        self.0.hash(&mut hasher);
        for file in files {
            // What cannot be read is said by who has to use it.
            content(file).ok().hash(&mut hasher);
        }
        Fingerprint(hasher.finish())
    }
}

/// More than this is no file of certificates.
const FILE_BYTES: u64 = 16 << 20;

fn content(path: &Path) -> io::Result<Vec<u8>> {
    if !path.metadata()?.is_file() {
        // A pipe would make the reload wait for whoever writes it.
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut content = Vec::new();
    File::open(path)?.take(FILE_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

fn entries(table: &DeTable<'_>, wanted: &dyn Fn(&str) -> bool, hasher: &mut DefaultHasher) {
    let mut entries: Vec<_> = table.iter().filter(|(key, _)| wanted(key.get_ref())).collect();
    entries.sort_by(|(one, _), (other, _)| one.get_ref().cmp(other.get_ref()));
    entries.len().hash(hasher);
    for (key, entry) in entries {
        key.get_ref().hash(hasher);
        value(entry, hasher);
    }
}

fn value(given: &Spanned<DeValue<'_>>, hasher: &mut DefaultHasher) {
    std::mem::discriminant(given.get_ref()).hash(hasher);
    match given.get_ref() {
        DeValue::String(text) => text.hash(hasher),
        DeValue::Integer(number) => (number.radix(), number.as_str()).hash(hasher),
        DeValue::Float(number) => number.as_str().hash(hasher),
        DeValue::Boolean(flag) => flag.hash(hasher),
        DeValue::Datetime(moment) => moment.to_string().hash(hasher),
        DeValue::Array(items) => {
            items.len().hash(hasher);
            items.iter().for_each(|item| value(item, hasher));
        }
        DeValue::Table(table) => entries(table, &|_| true, hasher),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Fingerprint {
        Fingerprint::of(DeTable::parse(text).unwrap().get_ref(), |key| key != "buffer")
    }

    #[test]
    fn it_is_of_what_the_section_says_and_not_of_how() {
        let one = of("a = 'x' # a comment\nb = { c = 1, d = [true, 1.5] }");
        assert_eq!(one, of("b.d = [\n true,\n 1.5 ]\nb.c = 1\na = \"x\"\nbuffer = 7"));
        for other in [
            "a = 'y'\nb = { c = 1, d = [true, 1.5] }",
            "a = 'x'\nb = { c = 1, d = [1.5, true] }",
            "a = 'x'\nb = { c = 1 }",
            "a = 'x'\nb = { c = 1, d = [true, 1.5], e = '' }",
        ] {
            assert_ne!(one, of(other), "{other}");
        }
        assert_ne!(of("a = ['b', 'c']"), of("a = ['bc']"));
        assert_ne!(of("a = 1"), of("a = '1'"));
    }

    #[test]
    fn it_is_of_what_a_named_file_holds_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let section = of("ca_file = 'ca.pem'");
        let missing = section.and_files([&*file]);
        std::fs::write(&file, "one").unwrap();
        let one = section.and_files([&*file]);
        assert_eq!(one, section.and_files([&*file]));
        std::fs::write(&file, "two").unwrap();
        let two = section.and_files([&*file]);
        assert!(missing != one && one != two && two != of("ca_file = 'other.pem'").and_files([&*file]));
        assert_eq!(section, section.and_files([]));
    }

    #[test]
    fn it_shows_nothing() {
        assert_eq!(format!("{:?}", of("token = 'secret'")), "Fingerprint");
    }
}
