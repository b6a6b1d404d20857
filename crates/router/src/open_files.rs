//! The process's limit on open files: raised as far as it goes, and compared with what the configuration may need.

use crate::{sys, topology::Configuration};

/// Event queues, sockets that listen, the API's connections, standard streams.
const SPARE: u64 = 128;

/// Raises the soft limit, which is 1,024 on most systems for the sake of programs that use `select`, to the hard one. Says so
/// where even that is less than what the configuration allows connections and files to take.
pub fn raise_limit(configuration: &Configuration) {
    let needed = needed(configuration);
    match sys::raise_open_files_limit() {
        Ok(limit) if limit < needed => tracing::warn!(
            limit,
            needed,
            "the limit on open files is lower than what [limits] connections and open_files allow: raise it (LimitNOFILE, ulimit -n)"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit on open files"),
    }
}

fn needed(configuration: &Configuration) -> u64 {
    let limits = &configuration.limits;
    let files = configuration.endpoints.iter().filter(|endpoint| endpoint.kind == "file").count();
    (limits.connections as u64).saturating_add((files * limits.open_files) as u64).saturating_add(SPARE)
}
