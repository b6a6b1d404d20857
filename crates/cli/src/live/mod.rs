//! What the commands that look at a running router share: `status`, `tap` and `top`.

pub mod condition_words;
pub mod events;
pub mod files;
pub mod numbers;
pub mod pretty;
pub mod rates;
pub mod safe_text;
pub mod severities;
pub mod table;
pub mod top_screen;
pub mod verdict;
pub mod wrap;
