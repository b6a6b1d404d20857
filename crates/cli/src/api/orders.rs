//! What a request may ask of the running router.
//!
//! A request runs on a thread that must not wait; the router belongs to another one. So a handler sends an order there
//! and awaits the reply. One order is under way at a time and the others wait their turn in their handlers, so that
//! however many are sent, a signal to stop waits for one at most.

use std::sync::Arc;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use metlog_router::topology::NotReopened;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::reload::Reloaded;

/// Something to do for the thread that owns the router.
#[derive(Debug)]
pub enum Order {
    /// Open all files anew; the reply is what did not work.
    Reopen(Reply<Vec<NotReopened>>),
    /// Go on with what the configuration file says now; the reply is what came of it.
    Reload(Reply<Reloaded>),
}

/// Where the answer to an order goes.
#[derive(Debug)]
pub struct Reply<T> {
    sender: oneshot::Sender<T>,
    /// The next order may come when this one is answered, even if nobody waits for its answer any more.
    _turn: OwnedSemaphorePermit,
}

impl<T> Reply<T> {
    /// Answers the order.
    pub fn send(self, answer: T) {
        // Who asked may have gone.
        let _ = self.sender.send(answer);
    }
}

/// The way to the thread that owns the router.
#[derive(Clone)]
pub struct Orders {
    give: Arc<dyn Fn(Order) -> bool + Send + Sync>,
    turn: Arc<Semaphore>,
}

/// The router stops, and takes no orders any more.
#[derive(Debug)]
pub struct Stopping;

impl Orders {
    /// Orders go to `give`, which returns `false` when nobody takes them any more.
    pub fn new(give: impl Fn(Order) -> bool + Send + Sync + 'static) -> Orders {
        Orders { give: Arc::new(give), turn: Arc::new(Semaphore::new(1)) }
    }

    /// For a router that takes none.
    pub fn to_nobody() -> Orders {
        Orders::new(|_| false)
    }

    /// Gives an order and awaits the answer.
    pub async fn ask<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, Stopping> {
        let turn = self.turn.clone().acquire_owned().await.map_err(|_| Stopping)?;
        let (sender, answer) = oneshot::channel();
        if !(self.give)(order(Reply { sender, _turn: turn })) {
            return Err(Stopping);
        }
        answer.await.map_err(|_| Stopping)
    }
}

impl IntoResponse for Stopping {
    fn into_response(self) -> Response {
        let body = json!({ "error": "the router stops and takes no orders" });
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn one_order_is_under_way_at_a_time_even_if_nobody_waits_for_it_any_more() {
        let given = Arc::new(Mutex::new(Vec::new()));
        let orders = Orders::new({
            let given = given.clone();
            move |order| {
                given.lock().unwrap().push(order);
                true
            }
        });
        let ask = || {
            let orders = orders.clone();
            tokio::spawn(async move { orders.ask(Order::Reopen).await.is_ok() })
        };
        let gone = ask();
        tokio::task::yield_now().await;
        gone.abort();
        let waiting = ask();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let first = given.lock().unwrap().drain(..).collect::<Vec<_>>();
        assert_eq!(first.len(), 1, "the second waits for the first");
        drop(first);
        let second = loop {
            tokio::task::yield_now().await;
            if let Some(Order::Reopen(reply)) = given.lock().unwrap().pop() {
                break reply;
            }
        };
        second.send(Vec::new());
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn a_router_that_stops_says_so() {
        assert!(Orders::to_nobody().ask(Order::Reopen).await.is_err());
    }
}
