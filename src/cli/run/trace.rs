//! The trace that a run is a part of: `TRACEPARENT` in our environment, to the broker, and on to the program.

use quietus_core::TaskId;
use tonic::Request;

use super::handover::Variables;
use crate::issuers::Secret;
use crate::telemetry::{TRACEPARENT, TraceContext, span};

/// The name of the variable (OpenTelemetry, "Environment Variables as Context Propagation Carriers").
const VARIABLE: &str = "TRACEPARENT";
const STATE: &str = "TRACESTATE";
const SAMPLED: u8 = 1;

/// The trace that this process was started in, if in any.
#[derive(Clone, Copy, Debug)]
pub struct Trace(Option<TraceContext>);

impl Trace {
    /// As the environment says; what is not sound there is not heeded.
    pub fn of_environment() -> Self {
        let said = std::env::var(VARIABLE).ok();
        Self(said.and_then(|text| text.parse().ok()))
    }

    /// The message, with the trace that it is a part of.
    pub fn on<T>(self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let context = self.0.and_then(|context| context.to_string().parse().ok());
        if let Some(context) = context {
            request.metadata_mut().insert(TRACEPARENT, context);
        }
        request
    }

    /// Has the program go on within the task, unless the user has chosen another place for it.
    pub fn pass_on(self, task: &str, variables: &mut Variables) {
        let Some(context) = task.parse().ok().and_then(|task| self.within(task)) else {
            return;
        };
        if self.0.is_none() {
            // It belongs to a trace that we could not read.
            variables.unset.insert(STATE);
        }
        let context = Secret::new(context.to_string());
        variables.set.entry(VARIABLE.to_owned()).or_insert(context);
    }

    fn within(self, task: TaskId) -> Option<TraceContext> {
        let trace = self
            .0
            .map_or_else(|| task.to_bytes(), |context| context.trace());
        let sampled = self.0.is_none_or(|context| context.is_sampled());
        let flags = if sampled { SAMPLED } else { 0 };
        TraceContext::new(trace, span::of_task(task), flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn passed_on(trace: Trace) -> Variables {
        let mut variables = Variables::default();
        trace.pass_on(TASK, &mut variables);
        variables
    }

    #[test]
    fn a_run_in_no_trace_has_the_one_of_its_task() {
        let variables = passed_on(Trace(None));
        let expected = "00-01890a5dac96774bbcceb302099a8057-bcceb302099a8057-01";
        assert_eq!(variables.set[VARIABLE].expose(), expected);
        assert!(variables.unset.contains(STATE));
    }

    #[test]
    fn a_run_in_a_trace_stays_in_it() {
        let trace = Trace(CALLER.parse().ok());
        let variables = passed_on(trace);
        let expected = "00-4bf92f3577b34da6a3ce929d0e0e4736-bcceb302099a8057-00";
        assert_eq!(variables.set[VARIABLE].expose(), expected);
        assert!(!variables.unset.contains(STATE));
        assert_eq!(trace.on(()).metadata().get(TRACEPARENT).unwrap(), CALLER);
    }

    #[test]
    fn what_the_user_chose_stays() {
        let mut variables = Variables::default();
        let chosen = Secret::new("mine");
        variables.set.insert(VARIABLE.to_owned(), chosen);
        Trace(None).pass_on(TASK, &mut variables);
        assert_eq!(variables.set[VARIABLE].expose(), "mine");
    }
}
