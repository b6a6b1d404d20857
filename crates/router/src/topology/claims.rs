//! Who writes which files, so that no two endpoints ever write the same ones at the same time.
//!
//! Two endpoints of one configuration that would spoil each other's files are an error there. But a reload can leave one behind
//! that still delivers what it holds, while another one, renamed or moved, is to go on in the same files. That one takes messages
//! at once and begins to write when the other has let go: nothing is lost, and order is kept.

use std::{sync::Arc, time::Duration};

use crate::{latch::Latch, territory::Territory};

/// The files that one endpoint writes or will write.
#[derive(Debug)]
pub struct Claimed {
    /// The endpoint's name.
    pub endpoint: String,
    territory: Territory,
    released: Latch,
}

impl Claimed {
    /// Waits at most `longest` until the endpoint writes none of them any more, nor ever will; returns whether that is so.
    pub fn wait(&self, longest: Duration) -> bool {
        self.released.wait(longest)
    }
}

/// Held by an endpoint from before it begins until it has closed its files.
#[derive(Debug)]
struct Claim(Arc<Claimed>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.released.count_down();
    }
}

/// An endpoint's place among those that write the same files.
#[derive(Debug, Default)]
pub struct Turn {
    claim: Option<Claim>,
    /// Those that were there before it, and are about to end.
    pub behind: Vec<Arc<Claimed>>,
}

impl Turn {
    /// What it claims.
    pub fn claimed(&self) -> Option<Arc<Claimed>> {
        self.claim.as_ref().map(|claim| claim.0.clone())
    }
}

/// All claims that are held.
#[derive(Debug, Default)]
pub struct Claims {
    held: Vec<Arc<Claimed>>,
}

impl Claims {
    /// What is held by others than those who stay.
    pub fn ending(&mut self, staying: &[Arc<Claimed>]) -> Vec<Arc<Claimed>> {
        self.held.retain(|claimed| !claimed.released.is_open());
        let stays = |claimed: &Arc<Claimed>| staying.iter().any(|staying| Arc::ptr_eq(staying, claimed));
        self.held.iter().filter(|claimed| !stays(claimed)).cloned().collect()
    }

    /// A turn for the endpoint with this name, behind those of `ending` whose files it may write, too.
    pub fn take_turn(
        &mut self,
        endpoint: &str,
        territory: Option<Territory>,
        ending: &[Arc<Claimed>],
    ) -> Turn {
        let Some(territory) = territory else { return Turn::default() };
        let overlaps = |claimed: &&Arc<Claimed>| claimed.territory.overlaps(&territory);
        let behind = ending.iter().filter(overlaps).cloned().collect();
        let claimed = Arc::new(Claimed { endpoint: endpoint.to_owned(), territory, released: Latch::new(1) });
        self.held.push(claimed.clone());
        Turn { claim: Some(Claim(claimed)), behind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;

    fn territory(path: &str) -> Option<Territory> {
        Some(Territory::of(&Template::parse(path).unwrap()))
    }

    #[test]
    fn who_comes_later_is_behind_those_who_end_and_have_the_same_files_until_they_let_go() {
        let mut claims = Claims::default();
        let [leaving, staying, elsewhere] =
            ["x.log", "x.log", "y.log"].map(|path| claims.take_turn(path, territory(path), &[]));
        let ending = claims.ending(&[staying.claimed().unwrap()]);
        let next = claims.take_turn("next", territory("./x.log"), &ending);
        assert_eq!(next.behind.len(), 1);
        assert!(!next.behind[0].wait(Duration::ZERO));
        drop(leaving);
        assert!(next.behind[0].wait(Duration::ZERO));
        drop(elsewhere);
        assert_eq!(claims.ending(&[]).len(), 2, "those who stay, and who came");
    }

    #[test]
    fn who_writes_no_files_waits_for_nobody() {
        let mut claims = Claims::default();
        let turn = claims.take_turn("far", None, &[]);
        assert!(turn.behind.is_empty() && turn.claimed().is_none());
    }
}
