//! The lifecycle of tasks and leases as a pure function.
pub mod scope;
pub use scope::{Action, Scope, ScopeError, TargetName};
