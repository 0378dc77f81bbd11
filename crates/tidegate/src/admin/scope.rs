//! What is told of one node, and what of all of them.

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use super::problem::Problem;
use super::query::bad;
use crate::cluster::Answers;

/// Of what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// This node; what there is without `scope`.
    Node,
    /// All of them.
    Cluster,
}

impl Scope {
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Problem> {
        match text {
            None | Some("node") => Ok(Self::Node),
            Some("cluster") => Ok(Self::Cluster),
            Some(_) => Err(bad("`scope` is `node` or `cluster`")),
        }
    }
}

/// Nobody can say how it is in all of the cluster.
pub(super) fn unreachable() -> Problem {
    let detail = "the cluster's store, or a node, cannot be reached";
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Problem::new(status, "cluster_unreachable", detail).with(header::RETRY_AFTER, "1")
}

/// How many other nodes were asked, and how many have answered.
pub(super) fn nodes(answers: Answers) -> Value {
    json!({ "asked": answers.asked, "answered": answers.answered })
}
