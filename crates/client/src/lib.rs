//! The Metlog generator library.
