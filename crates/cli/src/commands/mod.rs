//! The commands, one file each: its arguments, and what it does.

pub mod bench;
pub mod check;
pub mod demo;
pub mod reopen;
pub mod run;
pub mod send;
pub mod status;
pub mod tap;
pub mod top;
mod transport;
