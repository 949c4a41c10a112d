//! The labels of a plan and its policies, in metrics, spans and messages.

use std::sync::Arc;

use mountain_core::error::Owner;
use mountain_core::observe::Doing;
use mountain_core::telemetry::{Labels, shortened};
use pyo3::prelude::*;

use crate::plan::Plan;

impl Plan {
    /// The names of the effect and its policies in metrics, spans and the live page.
    pub(crate) fn labels(&self, py: Python<'_>) -> Arc<Labels> {
        if let Some(labels) = self.labels.get() {
            return labels.clone();
        }
        let policies = self.policies.bind(py).iter().map(|p| p.repr().map_or_else(|_| "?".into(), |r| r.to_string()));
        let layers = policies.map(|policy| shortened(&policy).into_owned()).collect();
        let stand_ins = (0..self.stack.len()).map(|layer| self.stand_in_name(layer).to_owned()).collect();
        let made = Arc::new(Labels { effect: shortened(&self.name).into_owned(), layers, stand_ins });
        self.labels.get_or_init(|| made).clone()
    }

    /// A call's present state as text, and the label of the policy that it is at.
    pub(crate) fn told_of(&self, py: Python<'_>, doing: Doing) -> (&'static str, Option<String>) {
        let at = |layer| Some(self.labels(py).layer(layer)).filter(|label| !label.is_empty()).map(str::to_owned);
        match doing {
            Doing::Running => ("running", None),
            Doing::Waiting(layer) => ("waiting", at(layer)),
            Doing::BackingOff(layer) => ("backing off", at(layer)),
            Doing::FallingBack(layer) => ("falling back", at(layer)),
        }
    }

    /// A policy as its repr, for a message.
    pub(crate) fn policy(&self, py: Python<'_>, layer: usize) -> Option<String> {
        let policy = self.policies.bind(py).get_item(layer).ok()?;
        Some(policy.repr().map_or_else(|_| "?".into(), |r| r.to_string()))
    }

    /// The owner of a deadline, for a message; `inherited` describes a deadline from outside.
    pub(crate) fn whose(&self, py: Python<'_>, owner: Owner, inherited: impl Fn() -> Option<String>) -> Option<String> {
        match owner {
            Owner::Layer(layer) => self.policy(py, layer),
            Owner::Inherited => Some(inherited().unwrap_or_else(|| "a limit around it".into())),
            Owner::None => None,
        }
    }

    /// ` under Timeout(10), Retry(...)`, or nothing.
    pub(crate) fn describe(&self, py: Python<'_>) -> PyResult<String> {
        let policies: Vec<String> = self.policies.bind(py).iter().map(|p| Ok(p.repr()?.to_string())).collect::<PyResult<_>>()?;
        Ok(if policies.is_empty() { String::new() } else { format!(" under {}", policies.join(", ")) })
    }
}
