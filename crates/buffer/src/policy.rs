//! What happens to a hand-over that does not fit.

/// What a full buffer does with the next hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WhenFull {
    /// The producer waits; nothing is lost. An input that cannot wait (UDP) drops instead.
    Block,
    /// The new hand-over is dropped and counted.
    DropNewest,
    /// The oldest hand-over that is not being delivered is dropped and counted.
    DropOldest,
}

impl WhenFull {
    /// The word that a configuration uses for it.
    pub fn name(self) -> &'static str {
        match self {
            WhenFull::Block => "block",
            WhenFull::DropNewest => "drop_newest",
            WhenFull::DropOldest => "drop_oldest",
        }
    }
}
