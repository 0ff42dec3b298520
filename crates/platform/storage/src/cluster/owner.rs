//! Decides which user runs PostgreSQL, and where its data can be.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use uuid::Uuid;

use super::{ClusterError, io_error};

/// Where data go that their owner could not reach.
const SHARED_HOME: &str = "/var/lib/malha";
/// Names the folder of the data in [`SHARED_HOME`].
const POINTER: &str = "elsewhere";
const ROOT: u32 = 0;

/// The user that PostgreSQL runs as.
#[derive(Debug)]
pub(super) struct Owner {
    uid: u32,
    gid: u32,
    /// Whether we are root and must change to that user.
    switch: bool,
}

impl Owner {
    /// Ourselves, or the user `postgres` when we are root: PostgreSQL refuses root. `created` is a
    /// folder that we made; its owner is who we are. It becomes the user's.
    pub(super) fn find(created: &Path) -> Result<Self, ClusterError> {
        let ours = fs::metadata(created).map_err(io_error(created.display()))?;
        if ours.uid() != ROOT {
            return Ok(Self { uid: ours.uid(), gid: ours.gid(), switch: false });
        }
        let users = fs::read_to_string("/etc/passwd").map_err(io_error("/etc/passwd"))?;
        let (uid, gid) = user_in(&users, "postgres").ok_or(ClusterError::NoUser)?;
        let owner = Self { uid, gid, switch: true };
        owner.give(created)?;
        Ok(owner)
    }

    /// A folder of this user for the data: the one that is asked for, or one that the user can
    /// reach.
    pub(super) fn home(&self, folder: &Path) -> Result<PathBuf, ClusterError> {
        fs::create_dir_all(folder).map_err(io_error(folder.display()))?;
        let folder = folder.canonicalize().map_err(io_error(folder.display()))?;
        if !self.switch {
            return Ok(folder);
        }
        let home = if self.reaches(&folder)? { folder } else { shared_home(&folder)? };
        fs::create_dir_all(&home).map_err(io_error(home.display()))?;
        self.give(&home)?;
        Ok(home)
    }

    /// A program run as this user, with nothing of our environment but the path.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir("/");
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whether the user may walk through every folder above this one. A clone under `/root` is out
    /// of its reach.
    fn reaches(&self, folder: &Path) -> Result<bool, ClusterError> {
        for ancestor in folder.ancestors().skip(1) {
            let metadata = fs::metadata(ancestor).map_err(io_error(ancestor.display()))?;
            let may_search = if metadata.uid() == self.uid {
                0o100
            } else if metadata.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            if metadata.permissions().mode() & may_search == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn give(&self, folder: &Path) -> Result<(), ClusterError> {
        chown(folder, Some(self.uid), Some(self.gid)).map_err(io_error(folder.display()))
    }
}

/// The folder holds the name, so whoever deletes the folder begins anew.
fn shared_home(folder: &Path) -> Result<PathBuf, ClusterError> {
    let pointer = folder.join(POINTER);
    if !pointer.exists() {
        // Renamed into place: a crash leaves no half-written name.
        let new = pointer.with_extension("new");
        fs::write(&new, Uuid::new_v4().to_string()).map_err(io_error(new.display()))?;
        fs::rename(&new, &pointer).map_err(io_error(pointer.display()))?;
    }
    let name = fs::read_to_string(&pointer).map_err(io_error(pointer.display()))?;
    let name: Uuid = name
        .parse()
        .map_err(|_| io_error(pointer.display())(io::Error::other("names no folder of data")))?;
    Ok(Path::new(SHARED_HOME).join(name.to_string()))
}

/// User and group id of a name in the text of `/etc/passwd`.
fn user_in(users: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = users
        .lines()
        .map(|line| line.split(':'))
        .find(|fields| fields.clone().next() == Some(name))?
        .skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/bash\npostgres2:x:7:7::/:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";

        assert_eq!(user_in(users, "postgres"), Some((101, 104)));
        assert_eq!(user_in(users, "postgre"), None);
    }

    #[test]
    fn a_folder_below_a_closed_one_is_out_of_reach() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("clone");
        fs::create_dir(&folder).unwrap();
        let ours = fs::metadata(&folder).unwrap();
        let stranger = Owner { uid: ours.uid() + 1, gid: ours.gid() + 1, switch: true };

        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!stranger.reaches(&folder).unwrap());

        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert!(stranger.reaches(&folder).unwrap());
    }

    #[test]
    fn a_folder_keeps_its_shared_home_until_it_is_deleted() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("postgres");
        fs::create_dir(&folder).unwrap();

        let first = shared_home(&folder).unwrap();
        assert_eq!(shared_home(&folder).unwrap(), first);

        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        assert_ne!(shared_home(&folder).unwrap(), first);
    }
}
