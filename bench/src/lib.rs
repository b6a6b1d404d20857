//! What the benchmark runner and the floors share.
//!
//! The path of one measurement: [`mix`] writes the messages and what each output must hold; [`router`] or a
//! floor is started under [`measure`]; [`load`] sends; [`outputs`] waits and compares every byte; the
//! process is ended and the operating system says what it cost; [`report`] makes the table.

pub mod cases;
pub mod context;
pub mod floor;
pub mod load;
pub mod measure;
pub mod mix;
pub mod os;
pub mod outputs;
pub mod report;
pub mod router;
