//! The input with real files, driven without threads and with a clock that the tests move; one file for each theme.

mod finding;
mod following;
mod lines;
mod model;
mod reloads;
mod restarts;
mod rotation;
mod standing;
mod world;

use self::world::{MESSAGE_BYTES, PATIENCE, World, append, kind};
use super::SAMPLE;

#[test]
fn the_sample_is_read() {
    assert!(kind().read_body(SAMPLE).is_ok());
    assert!(kind().read_body("path = 'x'\nmax_open = 0\n").is_err());
    assert!(kind().read_body("path = 'x'\nmode = 'once'\nstart = 'end'\n").is_err());
}
