//! A disk that is soon full.

use std::{fs, path::PathBuf, process::Command};

use super::skipped::skip;

/// A file system of 256 KiB, unmounted when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where mounting is not permitted; on the machines that check every change it must be.
    pub fn mount(path: PathBuf) -> Option<SmallDisk> {
        fs::create_dir_all(&path).expect("make a folder");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&path).output();
        let is_mounted = mount.as_ref().is_ok_and(|mount| mount.status.success());
        if !is_mounted {
            skip("a full disk", &format!("mounting a small one needs root: {mount:?}"));
            return None;
        }
        Some(SmallDisk(path))
    }

    /// Leaves room for about `bytes`.
    pub fn fill_all_but(&self, bytes: usize) {
        fs::write(self.0.join("filler"), vec![0; 256 * 1024 - bytes]).expect("fill the disk");
    }

    /// Removes what [`SmallDisk::fill_all_but`] put there.
    pub fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).expect("remove the filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a router of a failed test may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
