//! The process's limit on open files: raised as far as it goes, and compared with what the configuration may need.

use crate::{config::Limits, sys, topology::Configuration};

/// Event queues, sockets that listen, the API's connections, standard streams.
const SPARE: u64 = 128;

/// Files that an input of kind `file` reads at the same time, unless its own settings say otherwise.
const FOLLOWED: u64 = 256;

/// Raises the soft limit, which is 1,024 on most systems for the sake of programs that use `select`, to the hard one. Where even
/// that is less than what the configuration allows connections and files to take, it allows them less from now on, and that
/// is said: otherwise connections, which any stranger can make, would take what files and the API need.
pub fn fit_limits(configuration: &mut Configuration) {
    let limit = match sys::raise_open_files_limit() {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit on open files");
            return;
        }
    };
    let endpoints = configuration.endpoints.iter().filter(|endpoint| endpoint.kind == "file").count() as u64;
    let followers = configuration.inputs.iter().filter(|input| input.kind == "file").count() as u64;
    let followed = followers.saturating_mul(FOLLOWED);
    let needed = needed(&configuration.limits, endpoints, followed);
    if limit >= needed {
        return;
    }
    fit(&mut configuration.limits, limit, endpoints, followed);
    let (connections, open_files) = (configuration.limits.connections, configuration.limits.open_files);
    tracing::warn!(
        limit,
        needed,
        connections,
        open_files,
        "the limit on open files is lower than what [limits] connections and open_files allow, so that they are less now: raise it (LimitNOFILE, ulimit -n)"
    );
}

fn needed(limits: &Limits, endpoints: u64, followed: u64) -> u64 {
    let files = endpoints.saturating_mul(limits.open_files as u64).saturating_add(followed);
    (limits.connections as u64).saturating_add(files).saturating_add(SPARE)
}

/// Has connections make do with what files leave them, or with half of what there is if that is more; and files with what is
/// left then.
fn fit(limits: &mut Limits, limit: u64, endpoints: u64, followed: u64) {
    let available = limit - SPARE.min(limit / 2);
    let files = endpoints.saturating_mul(limits.open_files as u64).saturating_add(followed);
    let connections = available.saturating_sub(files).max(available / 2).max(1);
    limits.connections = limits.connections.min(usize::try_from(connections).unwrap_or(usize::MAX));
    let left = available.saturating_sub(limits.connections as u64).saturating_sub(followed);
    if let Some(each) = left.checked_div(endpoints) {
        limits.open_files = limits.open_files.min(usize::try_from(each.max(1)).unwrap_or(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ByteSize;

    #[track_caller]
    fn check(limit: u64, endpoints: u64, followed: u64, connections: usize, open_files: usize) {
        let (memory, message) = (ByteSize::mib(256), ByteSize::mib(1));
        let mut limits = Limits { memory, message, depth: 128, connections: 4096, open_files: 256 };
        fit(&mut limits, limit, endpoints, followed);
        assert_eq!((limits.connections, limits.open_files), (connections, open_files));
    }

    #[test]
    fn connections_get_what_files_leave_but_not_less_than_half() {
        check(1024, 1, 0, 640, 256);
        check(1024, 0, 0, 896, 256);
        check(1024, 4, 0, 448, 112);
        check(1024, 1, 256, 448, 192);
        check(80, 1, 0, 20, 20);
        check(1, 3, 256, 1, 1);
        check(1 << 20, 1, 0, 4096, 256);
    }
}
