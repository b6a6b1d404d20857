//! What the end-to-end tests share: a router in a folder of its own, its ledger, senders, and receivers.

pub mod http_server;
pub mod ledger;
pub mod messages;
pub mod publisher;
pub mod receivers;
pub mod rotated;
pub mod router;
pub mod senders;
pub mod sentry;
pub mod skipped;
pub mod small_disk;
pub mod statsd;
pub mod syslog_servers;
pub mod two_files;
pub mod wait;

pub use ledger::Ledger;
pub use router::{Router, Setup};
pub use small_disk::SmallDisk;
