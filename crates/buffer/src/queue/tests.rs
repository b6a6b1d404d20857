//! What a queue holds, drops, hands out and takes back.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parcel {
    number: usize,
    messages: usize,
}

impl Charge for Parcel {
    fn charged_bytes(&self) -> usize {
        10 * self.messages
    }
    fn messages(&self) -> usize {
        self.messages
    }
}

fn parcel(number: usize, messages: usize) -> Parcel {
    Parcel { number, messages }
}

const NOW: Duration = Duration::from_secs(1);

#[test]
fn an_item_larger_than_the_limit_passes_through_an_empty_queue() {
    let mut queue = Queue::new(50, WhenFull::Block);
    assert_eq!(queue.push(parcel(1, 9), NOW), Pushed::Accepted);
    assert_eq!(queue.push(parcel(2, 1), NOW), Pushed::Full(parcel(2, 1)));
}

#[test]
fn a_partly_delivered_item_is_handed_out_again_with_its_cursor() {
    let mut queue = Queue::new(1000, WhenFull::Block);
    queue.push(parcel(1, 3), NOW);
    queue.push(parcel(2, 3), NOW);
    let mut work = Vec::new();
    assert_eq!(queue.begin(usize::MAX, &mut work), 0);
    assert_eq!(work.len(), 2);
    queue.settle(4);
    assert_eq!(queue.status().messages, 2);
    assert_eq!(queue.begin(usize::MAX, &mut work), 1);
    assert_eq!(work, [parcel(2, 3)]);
}

#[test]
fn drop_oldest_never_touches_what_is_being_delivered() {
    let mut queue = Queue::new(60, WhenFull::DropOldest);
    queue.push(parcel(1, 3), NOW);
    queue.push(parcel(2, 3), NOW);
    let mut work = Vec::new();
    queue.begin(1, &mut work);
    assert_eq!(work, [parcel(1, 3)]);
    assert_eq!(queue.push(parcel(3, 3), NOW), Pushed::Displaced { items: vec![parcel(2, 3)], messages: 3 });
    queue.begin(usize::MAX, &mut work);
    assert_eq!(queue.push(parcel(4, 3), NOW), Pushed::Full(parcel(4, 3)), "everything is in delivery");
}

#[test]
fn dropping_a_partly_delivered_item_does_not_count_its_delivered_part() {
    let mut queue = Queue::new(40, WhenFull::DropOldest);
    queue.push(parcel(1, 4), NOW);
    let mut work = Vec::new();
    queue.begin(usize::MAX, &mut work);
    queue.settle(1);
    assert_eq!(queue.push(parcel(2, 4), NOW), Pushed::Displaced { items: vec![parcel(1, 4)], messages: 3 });
    assert_eq!(queue.status().messages, 4);
}

#[test]
fn a_smaller_bound_drops_nothing_that_is_held() {
    let mut queue = Queue::new(100, WhenFull::Block);
    queue.push(parcel(1, 4), NOW);
    queue.push(parcel(2, 4), NOW);
    queue.set_bound(50, WhenFull::DropNewest);
    assert_eq!((queue.status().messages, queue.limit_bytes()), (8, 50));
    assert_eq!(queue.push(parcel(3, 1), NOW), Pushed::Full(parcel(3, 1)));
    queue.settle(4);
    assert_eq!(queue.push(parcel(3, 1), NOW), Pushed::Accepted);
}

#[test]
fn a_closed_queue_still_delivers_what_it_holds() {
    let mut queue = Queue::new(40, WhenFull::Block);
    queue.push(parcel(1, 2), NOW);
    queue.close();
    assert_eq!(queue.push(parcel(2, 1), NOW), Pushed::Closed(parcel(2, 1)));
    let mut work = Vec::new();
    queue.begin(usize::MAX, &mut work);
    queue.settle(2);
    assert!(queue.is_empty());
}

#[test]
fn what_was_moved_out_is_settled_in_any_order_and_charged_until_then() {
    let mut queue = Queue::new(60, WhenFull::DropNewest);
    let at = Duration::from_secs;
    queue.push(parcel(1, 3), at(1));
    queue.push(parcel(2, 3), at(2));
    let (first, second) = (queue.take().unwrap(), queue.take().unwrap());
    assert_eq!((first.1, second.1), (parcel(1, 3), parcel(2, 3)));
    assert!(!queue.has_untaken() && !queue.is_empty());
    assert_eq!(queue.push(parcel(3, 1), at(3)), Pushed::Full(parcel(3, 1)));
    queue.release(second.0, 3, 0);
    assert_eq!(queue.status(), Status { messages: 3, bytes: 30, oldest: Some(at(1)) });
    assert_eq!(queue.push(parcel(3, 3), at(3)), Pushed::Accepted);
    queue.release(first.0, 2, 20);
    assert_eq!(queue.status(), Status { messages: 4, bytes: 40, oldest: Some(at(1)) });
    queue.release(first.0, 9, 0);
    assert_eq!(queue.status(), Status { messages: 3, bytes: 30, oldest: Some(at(3)) });
    queue.release(first.0, 1, 10);
    assert_eq!(queue.status().messages, 3, "a ticket is good once");
    assert_eq!(queue.abandon().0, 3);
}

#[test]
fn an_item_that_was_divided_is_charged_what_its_parts_keep_alive() {
    let mut queue = Queue::new(100, WhenFull::DropNewest);
    queue.push(parcel(1, 10), NOW);
    let (ticket, _) = queue.take().unwrap();
    queue.recharge(ticket, 44);
    assert_eq!(queue.status().bytes, 44);
    queue.release(ticket, 4, 22);
    assert_eq!((queue.status().messages, queue.status().bytes), (6, 22));
    assert_eq!(queue.abandon(), (6, vec![]));
    queue.release(ticket, 6, 22);
    assert_eq!(queue.status(), Status::default(), "nothing is owed for what was abandoned");
}

#[test]
fn what_was_moved_out_can_be_taken_back() {
    let mut queue = Queue::new(100, WhenFull::DropNewest);
    let at = Duration::from_secs;
    for number in 1..=3 {
        queue.push(parcel(number, 3), at(number as u64));
    }
    let (first, second) = (queue.take().unwrap().0, queue.take().unwrap().0);
    queue.release(first, 2, 0);
    queue.put_back(vec![(first, parcel(11, 1)), (second, parcel(21, 2)), (second, parcel(22, 1))]);
    assert_eq!(queue.status(), Status { messages: 7, bytes: 70, oldest: Some(at(1)) });
    let mut work = Vec::new();
    assert_eq!(queue.begin(usize::MAX, &mut work), 0);
    assert_eq!(work, [parcel(11, 1), parcel(21, 2), parcel(22, 1), parcel(3, 3)]);
    queue.settle(7);
    queue.put_back(vec![(second, parcel(4, 1))]);
    assert_eq!(queue.status(), Status::default(), "a ticket is good once");
}

#[test]
fn an_item_that_is_too_large_waits_for_those_that_were_moved_out() {
    for policy in [WhenFull::DropNewest, WhenFull::DropOldest] {
        let mut queue = Queue::new(50, policy);
        queue.push(parcel(1, 1), NOW);
        let (ticket, _) = queue.take().unwrap();
        assert_eq!(queue.push(parcel(2, 9), NOW), Pushed::Full(parcel(2, 9)));
        queue.release(ticket, 1, 0);
        assert_eq!(queue.push(parcel(2, 9), NOW), Pushed::Accepted);
    }
}

proptest! {
    /// Whatever is pushed, delivered in part, retried and displaced: every message is accounted for exactly once,
    /// order is kept, and the charge is that of the items held.
    #[test]
    fn every_message_is_accounted_for(
        operations in prop::collection::vec((0u8..4, 1usize..6), 1..200),
        drop_oldest in any::<bool>(),
    ) {
        let policy = if drop_oldest { WhenFull::DropOldest } else { WhenFull::DropNewest };
        let mut queue = Queue::new(120, policy);
        let (mut offered, mut settled, mut dropped) = (0, 0, 0);
        let mut work = Vec::new();
        let mut handed = 0;
        for (number, (operation, size)) in operations.into_iter().enumerate() {
            match operation {
                0 | 1 => {
                    offered += size;
                    match queue.push(parcel(number, size), NOW) {
                        Pushed::Accepted => {}
                        Pushed::Displaced { messages, .. } => dropped += messages,
                        Pushed::Full(back) => dropped += back.messages,
                        Pushed::Waiting(_) => prop_assert!(false, "a queue lets nobody wait"),
                        Pushed::Closed(_) => prop_assert!(false, "nobody closed it"),
                    }
                }
                2 => {
                    let cursor = queue.begin(size * 20, &mut work);
                    handed = work.iter().map(Charge::messages).sum::<usize>().saturating_sub(cursor);
                    for pair in work.windows(2) {
                        prop_assert!(pair[0].number < pair[1].number, "out of order");
                    }
                }
                _ => {
                    let part = handed.min(size);
                    queue.settle(part);
                    settled += part;
                    handed = 0;
                }
            }
            let status = queue.status();
            prop_assert_eq!(offered, settled + dropped + status.messages);
            prop_assert!(status.bytes <= 120);
            prop_assert_eq!(status.messages == 0, queue.is_empty());
        }
    }
}
