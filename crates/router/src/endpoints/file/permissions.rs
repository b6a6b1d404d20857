//! Who may read what is written: the permissions and owners of new files and folders.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown},
    path::Path,
};

use toml::de::DeValue;

use super::named_pipe;
use crate::{
    config::{
        Diagnostics, FromConfig,
        reader::Value,
        types::{parsed, quoted},
    },
    sys,
};

/// Logs are not for everybody's eyes. The process's umask takes away from these, but not from what the configuration says.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o700;

/// The bits that a mode may have: permissions, set-group, sticky.
const MODE_BITS: u32 = 0o7777;

/// Permissions as `chmod` takes them, in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl FromConfig for Mode {
    fn expected() -> String {
        "permissions in octal such as \"0640\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Mode> {
        if let DeValue::Integer(number) = value.get_ref() {
            let mode = u32::from_str_radix(number.as_str(), 8).ok().filter(|mode| *mode <= MODE_BITS);
            if number.radix() != 8 || mode.is_none() {
                diagnostics.invalid::<Mode>(value, "a number needs the prefix for octal, as in 0o640");
                return None;
            }
            return mode.map(Mode);
        }
        parsed(value, diagnostics, |text| match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= MODE_BITS && !text.starts_with('+') => Ok(Mode(mode)),
            _ => Err("not three or four digits from 0 to 7".to_owned()),
        })
    }

    fn to_toml(&self) -> String {
        quoted(&format!("{:04o}", self.0))
    }
}

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// As the configuration has it.
    pub name: String,
    /// The number.
    pub id: u32,
}

/// A group of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// As the configuration has it.
    pub name: String,
    /// The number.
    pub id: u32,
}

macro_rules! account {
    ($type:ident, $what:literal, $look_up:path) => {
        impl FromConfig for $type {
            fn expected() -> String {
                concat!("the name or the number of a ", $what).to_owned()
            }

            fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
                let whole = matches!(value.get_ref(), DeValue::Integer(_))
                    .then(|| u32::from_config(value, diagnostics));
                if let Some(id) = whole {
                    return id.map(|id| $type { name: id.to_string(), id });
                }
                parsed(value, diagnostics, |name| {
                    let id = match name.parse() {
                        Ok(id) => Some(id),
                        Err(_) => $look_up(name).map_err(|error| format!("cannot be looked up: {error}"))?,
                    };
                    let unknown = concat!("this machine has no ", $what, " of this name");
                    id.map(|id| $type { name: name.to_owned(), id }).ok_or_else(|| unknown.to_owned())
                })
            }

            fn to_toml(&self) -> String {
                quoted(&self.name)
            }
        }
    };
}

account!(User, "user", sys::user_id);
account!(Group, "group", sys::group_id);

/// What new files and folders get.
#[derive(Debug, Clone, Default)]
pub struct Permissions {
    /// Of files; without it 0640 less the umask.
    pub mode: Option<Mode>,
    /// Of folders; without it 0700 less the umask.
    pub dir_mode: Option<Mode>,
    /// Whose they are; without it the router's.
    pub owner: Option<User>,
    /// Which group's they are; without it the router's.
    pub group: Option<Group>,
}

impl Permissions {
    /// Why the router cannot give files away as it is told to, if so.
    pub fn problem(&self) -> Option<String> {
        let process = sys::Credentials::of_this_process()?;
        if process.may_change_owners {
            return None;
        }
        if let Some(owner) = self.owner.as_ref().filter(|owner| owner.id != process.user) {
            return Some(format!(
                "only root may make files belong to `{}` (`owner`), and the router runs as user {}: run it as that user, or \
                 remove the key",
                owner.name, process.user
            ));
        }
        let group = self.group.as_ref().filter(|group| !process.groups.contains(&group.id))?;
        Some(format!(
            "the router is not in the group `{}` (`group`) and does not run as root: add its user to the group, or remove \
             the key",
            group.name
        ))
    }

    /// Opens a file for appending, and makes it and its folders if they are missing. `has_made` is told of a file that was
    /// made, while it still is the router's own.
    pub fn open(&self, path: &Path, has_made: impl FnOnce(&File)) -> io::Result<File> {
        if named_pipe::is_at(path) {
            return named_pipe::open(path);
        }
        let mut options = OpenOptions::new();
        options.append(true);
        match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(folder) = path.parent() {
                    self.make_folders(folder)?;
                }
                self.create(path, has_made)
            }
            outcome => outcome,
        }
    }

    fn create(&self, path: &Path, has_made: impl FnOnce(&File)) -> io::Result<File> {
        let mode = self.mode.map_or(FILE_MODE, |Mode(mode)| mode);
        let mut options = OpenOptions::new();
        options.append(true).mode(mode);
        let file = match options.create_new(true).open(path) {
            // A link that leads nowhere yet, or somebody was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return options.create_new(false).create(true).open(path);
            }
            outcome => outcome?,
        };
        has_made(&file);
        if let Err(error) = self.give(&file) {
            // Without its owner it must not stay: the next attempt would take it as it is.
            let _ = fs::remove_file(path);
            return Err(error);
        }
        Ok(file)
    }

    fn give(&self, file: &File) -> io::Result<()> {
        if self.owner.is_some() || self.group.is_some() {
            fchown(file, self.owner_id(), self.group_id())?;
        }
        match self.mode {
            Some(Mode(mode)) => file.set_permissions(fs::Permissions::from_mode(mode)),
            None => Ok(()),
        }
    }

    fn make_folders(&self, folder: &Path) -> io::Result<()> {
        if folder.as_os_str().is_empty() || folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.make_folders(above)?;
        }
        let mode = self.dir_mode.map_or(FOLDER_MODE, |Mode(mode)| mode);
        match DirBuilder::new().mode(mode).create(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => return Ok(()),
            Err(error) => return Err(error),
        }
        if self.owner.is_some() || self.group.is_some() {
            chown(folder, self.owner_id(), self.group_id())?;
        }
        match self.dir_mode {
            Some(Mode(mode)) => fs::set_permissions(folder, fs::Permissions::from_mode(mode)),
            None => Ok(()),
        }
    }

    fn owner_id(&self) -> Option<u32> {
        self.owner.as_ref().map(|owner| owner.id)
    }

    fn group_id(&self) -> Option<u32> {
        self.group.as_ref().map(|group| group.id)
    }
}

/// Makes a file as open to others as its model is, and its owner's where that is permitted.
pub fn copy_permissions(model: &fs::Metadata, file: &File) -> io::Result<()> {
    // Refused where the router does not run as root; the file is its own then, as the model was or could have been.
    let _ = fchown(file, Some(model.uid()), Some(model.gid()));
    file.set_permissions(model.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Section;

    fn mode_of(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & MODE_BITS
    }

    fn read<T: FromConfig>(value: &str) -> Option<T> {
        let text = format!("x = {value}");
        let table = toml::de::DeTable::parse(&text).unwrap();
        Section::new("test", 0..1, table.get_ref(), &mut Diagnostics::new()).optional::<T>("x")
    }

    #[test]
    fn modes_are_octal_however_they_are_written() {
        for text in ["\"0640\"", "\"640\"", "0o640"] {
            assert_eq!(read::<Mode>(text), Some(Mode(0o640)), "{text}");
        }
        assert_eq!(Mode(0o640).to_toml(), "\"0640\"");
        for text in ["640", "\"0689\"", "\"rw-r-----\"", "\"10000\"", "\"\"", "\"+640\"", "0x1a0"] {
            assert!(read::<Mode>(text).is_none(), "{text}");
        }
    }

    #[test]
    fn accounts_are_names_or_numbers() {
        assert_eq!(read::<User>("\"root\"").unwrap().id, 0);
        assert_eq!(read::<Group>("\"root\"").unwrap().id, 0);
        assert_eq!(read::<User>("\"1234\"").unwrap().id, 1234);
        assert_eq!(read::<Group>("1234").unwrap().id, 1234);
        assert_eq!(read::<User>("\"nobody-has-this-name\""), None);
    }

    #[test]
    fn what_is_made_is_not_for_everybody_unless_the_configuration_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/log");
        let mut times_made = 0;
        for _ in 0..2 {
            Permissions::default().open(&path, |_| times_made += 1).unwrap();
        }
        assert_eq!(times_made, 1, "the second time it was there");
        assert_eq!(mode_of(&path) & 0o137, 0, "nothing beyond 0640");
        assert_eq!(mode_of(path.parent().unwrap()) & 0o077, 0, "nothing beyond 0700");
        let open =
            Permissions { mode: Some(Mode(0o666)), dir_mode: Some(Mode(0o2775)), ..Permissions::default() };
        let path = folder.path().join("c/d/log");
        open.open(&path, |_| {}).unwrap();
        assert_eq!((mode_of(&path), mode_of(path.parent().unwrap())), (0o666, 0o2775), "whatever the umask");
        open.open(&folder.path().join("a/b/log"), |_| {}).unwrap();
        assert_eq!(mode_of(&folder.path().join("a/b/log")) & 0o137, 0, "what is there stays as it is");
    }

    #[test]
    fn files_are_given_to_others_by_root_and_by_nobody_else() {
        let others = Permissions {
            owner: Some(User { name: "other".to_owned(), id: 1234 }),
            ..Permissions::default()
        };
        let credentials = sys::Credentials::of_this_process().unwrap();
        let own = User { name: "own".to_owned(), id: credentials.user };
        assert_eq!(Permissions { owner: Some(own), ..Permissions::default() }.problem(), None);
        if !credentials.may_change_owners {
            assert!(others.problem().unwrap().contains("only root"));
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/log");
        others.open(&path, |_| {}).unwrap();
        assert_eq!(
            (path.metadata().unwrap().uid(), path.parent().unwrap().metadata().unwrap().uid()),
            (1234, 1234)
        );
    }

    #[test]
    fn a_link_that_leads_nowhere_yet_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        Permissions::default().open(&link, |_| {}).unwrap();
        assert!(target.is_file());
    }
}
