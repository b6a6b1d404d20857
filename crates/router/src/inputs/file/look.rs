//! One look at all files: which there are, and a [`Follower`] for each that nobody reads yet.
//!
//! It takes as long as the file system takes, and runs on a thread of its own beside the followers of earlier looks.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Complaint, Mode, Shared, Start,
    follower::Follower,
    identity::{self, FileId, Fingerprint},
    patterns::{self, Found},
    position::FilePosition,
};

/// How many files one input follows. Each that is idle costs a system call ten times a second.
const MOST_FILES: usize = 10_000;

/// One look at all files.
#[derive(Debug)]
pub struct Look {
    shared: Arc<Shared>,
    /// Whether the input has not looked before.
    is_first: bool,
    /// Which files had which name when they were last seen, before this look.
    before: HashMap<PathBuf, Vec<Arc<FilePosition>>>,
    /// How many files are read.
    followed: usize,
    seen: HashSet<FileId>,
    /// What stands in the way of reading a file, by its path.
    complaints: BTreeMap<PathBuf, Complaint>,
}

impl Look {
    /// A look that has seen nothing yet.
    pub fn new(shared: &Arc<Shared>, is_first: bool) -> Look {
        Look {
            shared: shared.clone(),
            is_first,
            before: HashMap::new(),
            followed: 0,
            seen: HashSet::new(),
            complaints: BTreeMap::new(),
        }
    }

    /// These files are known before it.
    fn remember(&mut self, known: &[Arc<FilePosition>]) {
        self.followed = known.iter().filter(|place| place.is_followed()).count();
        self.before.clear();
        for place in known {
            self.before.entry(place.path()).or_default().push(place.clone());
        }
    }

    /// Looks, and begins to read what is new. The files are followed from now on, whenever the followers are read first.
    pub fn followers(mut self) -> Vec<Follower> {
        let shared = self.shared.clone();
        let Shared { settings, positions, .. } = &*shared;
        let (mut found, unreadable) = patterns::scan(&settings.path, &settings.exclude, settings.links);
        let mut known = positions.all();
        self.remember(&known);
        if self.recognise_renumbered(&found) {
            known = positions.all();
            self.remember(&known);
        }
        for patterns::Unreadable { path, error } in unreadable {
            self.complain(&path, "file-unreadable", &error.to_string());
        }
        let mut followers = Vec::new();
        // A file under an old name waits for those that had it before, so these come first: what is there no more, the one
        // that went first in front; then what has another name now; then what is still there; and last what is new.
        let there: HashSet<FileId> = found.iter().map(|found| found.id).collect();
        let now = shared.context.clock.wall().seconds;
        let mut gone: Vec<_> = known.iter().filter(|place| !there.contains(&place.id)).collect();
        // Several may have gone within a second, or while nobody looked.
        gone.sort_by_cached_key(|place| (place.gone_since().unwrap_or(i64::MAX), place.number()));
        for place in gone {
            if self.is_first && settings.mode == Mode::Follow {
                followers.extend(self.follow_renamed(place));
            }
            place.gone(now);
        }
        let order = |found: &Found| match positions.get(found.id) {
            Some(place) => (u8::from(place.path() == found.path), place.number()),
            None => (2, 0),
        };
        found.sort_by_cached_key(order);
        for found in found {
            // One file may have several names.
            if self.seen.insert(found.id) {
                followers.extend(self.follow(&found));
            }
        }
        positions.forget(now);
        if self.is_first {
            if self.seen.is_empty() {
                tracing::warn!(input = shared.context.name, "no file matches {} yet", settings.path);
            }
            positions.has_scanned(settings.scope());
        }
        *shared.complaints() = self.complaints;
        if !followers.is_empty() {
            // Before anything of them is delivered: after a crash a renamed file is only found by what is kept of it.
            shared.context.checkpoints.write(&shared.context.name);
        }
        followers
    }

    /// A file system may get another device number when it is mounted again. A file that is not known by its identity, but has
    /// the name, the inode and the beginning of one that nobody reads, is that one. Returns whether there was any.
    fn recognise_renumbered(&self, found: &[Found]) -> bool {
        let positions = &self.shared.positions;
        let mut are_any = false;
        for found in found.iter().filter(|found| positions.get(found.id).is_none()) {
            let before = self.before.get(&found.path).map_or(&[][..], Vec::as_slice);
            let is_like_it = |place: &&Arc<FilePosition>| {
                place.id.inode == found.id.inode && !place.is_followed() && place.fingerprint().bytes > 0
            };
            let mut candidates = before.iter().filter(is_like_it).peekable();
            if candidates.peek().is_none() {
                continue;
            }
            let Ok(Some(file)) = self.shared.open_file(&found.path) else { continue };
            if let Some(place) = candidates.find(|place| place.fingerprint().fits(&file).unwrap_or(false)) {
                positions.renumber(place, found.id);
                are_any = true;
            }
        }
        are_any
    }

    /// Whatever has to be done for a file that is there.
    fn follow(&mut self, found: &Found) -> Option<Follower> {
        let place = self.shared.positions.get(found.id);
        if let Some(place) = &place
            && place.is_followed()
        {
            place.found_at(&found.path, found.size);
            return None;
        }
        if self.followed >= MOST_FILES {
            let problem = format!("{MOST_FILES} files are followed already; use a narrower `path`");
            self.complain(&found.path, "file-ignored", &problem);
            return None;
        }
        let file = match self.shared.open_file(&found.path) {
            Ok(Some(file)) if file.metadata().is_ok_and(|metadata| FileId::of(&metadata) == found.id) => file,
            // Something else has the name by now; the next look finds out what.
            Ok(_) => return None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.complain(&found.path, "file-unreadable", &error.to_string());
                return None;
            }
        };
        if let Some(compression) = identity::compression(&file) {
            let problem = format!("it is compressed ({compression}); unpack it, or `exclude` it");
            self.complain(&found.path, "file-compressed", &problem);
            return None;
        }
        let (place, follower) = match place {
            Some(place) => {
                self.check_content(&place, &file);
                let follower = self.start(&found.path, &place);
                (place, follower)
            }
            None => {
                let from = self.first_position(found);
                let place = self.shared.positions.add(found.id, &found.path, from);
                place.set_fingerprint(Fingerprint::of(&file).unwrap_or(Fingerprint::NOTHING));
                let follower = self.start(&found.path, &place);
                // Before it there is a line of which the end is still to come.
                let is_within_line = from > 0 && !is_line_break(&file, from - 1);
                let follower =
                    if is_within_line { follower.map(Follower::skipping_to_next_line) } else { follower };
                (place, follower)
            }
        };
        place.found_at(&found.path, found.size);
        follower
    }

    /// Begins to read a file behind those that had this name before it.
    fn start(&mut self, name: &Path, place: &Arc<FilePosition>) -> Option<Follower> {
        let before = self.before.get(name).map_or(&[][..], Vec::as_slice);
        let is_predecessor = |other: &&Arc<FilePosition>| other.id != place.id && other.is_followed();
        let predecessors: Vec<_> = before.iter().filter(is_predecessor).cloned().collect();
        // They may have grown since they were last found at their end.
        predecessors.iter().for_each(|predecessor| predecessor.look_again());
        self.followed += 1;
        place.begin().then(|| Follower::new(self.shared.clone(), place.clone(), predecessors))
    }

    /// Where a file begins that was never seen. If another one was read under its name, it is that one's successor, and
    /// was written to while nobody looked. If it was looked for before this input was opened anew, it has appeared since.
    fn first_position(&self, found: &Found) -> u64 {
        let is_old = self.is_first
            && !self.before.contains_key(&found.path)
            && !self.shared.positions.would_know(&found.path);
        if is_old && self.shared.settings.start == Start::End { found.size } else { 0 }
    }

    /// A deleted file's identity may have been given to a new one. And what was empty may have a beginning now.
    fn check_content(&self, place: &FilePosition, file: &File) {
        match place.fingerprint().fits(file) {
            Err(_) => {}
            Ok(true) if place.fingerprint().bytes > 0 => {}
            Ok(true) => place.set_fingerprint(Fingerprint::of(file).unwrap_or(Fingerprint::NOTHING)),
            Ok(false) => {
                tracing::info!(
                    input = self.shared.context.name,
                    path = %place.path().display(),
                    "the file has other content than before; reading it from its beginning"
                );
                self.shared.positions.replaced(place);
                place.set_fingerprint(Fingerprint::of(file).unwrap_or(Fingerprint::NOTHING));
            }
        }
    }

    /// A file that was renamed while the router did not run: what it got since its last read is still wanted.
    fn follow_renamed(&mut self, place: &Arc<FilePosition>) -> Option<Follower> {
        let path = place.path();
        let renamed = identity::find_in(path.parent()?, place.id)?;
        let file = self.shared.open_file(&renamed).ok()??;
        let has_more = file.metadata().is_ok_and(|metadata| metadata.len() > place.read());
        // One that was empty when it was last seen is known by its identity alone, which is good enough where it was there to the last.
        let is_known = place.fingerprint().bytes > 0 || place.gone_since().is_none();
        let is_it = is_known
            && place.fingerprint().fits(&file).unwrap_or(false)
            && identity::compression(&file).is_none();
        if !(has_more && is_it) {
            return None;
        }
        tracing::info!(
            input = self.shared.context.name,
            path = %renamed.display(),
            "reading the rest of a file that was renamed"
        );
        self.start(&path, place)
    }

    /// Says once what stands in the way of reading a file, and again only after it was not in the way.
    fn complain(&mut self, path: &Path, reason: &'static str, problem: &str) {
        let complaint = Complaint { reason, problem: problem.to_owned() };
        let is_repeated = self.complaints.insert(path.to_owned(), complaint).is_some();
        if !is_repeated && !self.shared.complaints().contains_key(path) {
            self.shared.context.counters.notice(reason, 1);
            tracing::warn!(
                input = self.shared.context.name,
                path = %path.display(),
                problem,
                "cannot read the file; going on with the others"
            );
        }
    }
}

fn is_line_break(file: &File, at: u64) -> bool {
    let mut byte = [0];
    file.read_at(&mut byte, at).is_ok_and(|count| count == 1 && byte == *b"\n")
}
