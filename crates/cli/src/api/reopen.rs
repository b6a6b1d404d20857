//! `POST /api/v1/reopen`: log files were renamed; go on in new ones.

use axum::{
    Extension, Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use metlog_router::topology::NotReopened;
use serde::{Deserialize, Serialize};

use super::{Order, Orders, orders::Stopping};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reopened {
    /// Whether every file is open anew, and what was written before is out.
    pub reopened: bool,
    /// The endpoints of which that is not so.
    pub not_reopened: Vec<Problem>,
}

/// An endpoint whose files are not open anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its name.
    pub endpoint: String,
    /// Why not.
    pub error: String,
}

/// 200 when all files are open, 503 when some are not.
pub async fn reopen(Extension(orders): Extension<Orders>) -> Result<Response, Stopping> {
    let problems = orders.ask(Order::Reopen).await?;
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(Reopened::from(problems))).into_response())
}

impl From<Vec<NotReopened>> for Reopened {
    fn from(problems: Vec<NotReopened>) -> Reopened {
        let not_reopened = problems
            .into_iter()
            .map(|NotReopened { endpoint, error }| Problem { endpoint, error: error.to_string() })
            .collect::<Vec<_>>();
        Reopened { reopened: not_reopened.is_empty(), not_reopened }
    }
}
