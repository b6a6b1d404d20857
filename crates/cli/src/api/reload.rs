//! `POST /api/v1/reload`: go on with what the configuration file says now.
//!
//! The router reads its own file, whose path it was given at its start: nothing of the request decides what is read.

use axum::{
    Extension, Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use metlog_router::topology::{self, ReloadReport};
use serde::{Deserialize, Serialize};

use super::{Order, Orders, orders::Stopping};

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether the router runs with what the file says now. Otherwise nothing has changed.
    pub reloaded: bool,
    /// Why not: what `metlog check` says of the file, or what could not be opened. Null if it worked.
    pub error: Option<String>,
    /// What `metlog check` says although the file can be used; empty if nothing.
    pub warnings: String,
    /// What became of the inputs.
    pub inputs: Changes,
    /// What became of the endpoints.
    pub endpoints: Changes,
    /// How many routes there are.
    pub routes: usize,
    /// Whether they are others than before.
    pub routes_changed: bool,
    /// Settings that the file changes but that take effect at the next start.
    pub next_start: Vec<String>,
}

/// What became of components, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// They run on, with their sockets, connections, files and buffers.
    pub kept: Vec<String>,
    /// They do what the file says now.
    pub changed: Vec<String>,
    /// They are new.
    pub added: Vec<String>,
    /// They are gone from the file.
    pub removed: Vec<String>,
}

/// 200 when the router goes on with the file, 422 when it could not be used.
pub async fn reload(Extension(orders): Extension<Orders>) -> Result<Response, Stopping> {
    let outcome = orders.ask(Order::Reload).await?;
    let status = if outcome.reloaded { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok((status, Json(outcome)).into_response())
}

impl Reloaded {
    /// The router goes on with the file.
    pub fn done(report: ReloadReport, warnings: String) -> Reloaded {
        Reloaded {
            reloaded: true,
            error: None,
            warnings,
            inputs: report.inputs.into(),
            endpoints: report.endpoints.into(),
            routes: report.routes,
            routes_changed: report.routes_changed,
            next_start: report.next_start.into_iter().map(str::to_owned).collect(),
        }
    }

    /// Nothing has changed.
    pub fn refused(error: String) -> Reloaded {
        Reloaded { error: Some(error), ..Reloaded::default() }
    }
}

impl From<topology::Changes> for Changes {
    fn from(changes: topology::Changes) -> Changes {
        let topology::Changes { kept, changed, added, removed } = changes;
        Changes { kept, changed, added, removed }
    }
}
