//! Calls of tools, by the GenAI semantic conventions of OpenTelemetry (in development; as of version 1.41).

use std::borrow::Cow;

use super::context::TraceContext;
use super::span::{Span, SpanKind, Text, new_id};

/// The longest name that goes into a span, in characters.
const MAX_NAME: usize = 128;

/// What an agent, a tool or a gateway did with a credential. Neither arguments nor results: those are not for telemetry.
#[derive(Clone, Debug)]
pub struct ToolCall<'a> {
    /// The tool's name.
    pub tool: &'a str,
    /// What the model or the agent calls this call, if it says.
    pub call: Option<&'a str>,
    /// SPIFFE ID of the agent.
    pub agent: &'a str,
    /// How it went: none if well, otherwise a stable word for what went wrong.
    pub error: Option<&'static str>,
    /// When it began, in nanoseconds since 1970.
    pub start: u64,
    /// When it was over.
    pub end: u64,
}

/// The span of a tool call: `execute_tool {gen_ai.tool.name}`, a part of what `context` says.
pub fn tool_call_span(call: &ToolCall<'_>, context: TraceContext) -> Span {
    let tool = named(call.tool);
    let mut span = Span::new(
        context.trace(),
        new_id(),
        "",
        (call.start, call.end.max(call.start)),
    )
    .under(context.span())
    .kind(SpanKind::Internal)
    .with("gen_ai.operation.name", "execute_tool")
    .with("gen_ai.tool.name", tool.clone())
    .with("gen_ai.agent.id", call.agent.to_owned())
    .failed(call.error);
    span.name = Cow::Owned(format!("execute_tool {tool}"));
    let id = call
        .call
        .map(|id| ("gen_ai.tool.call.id", Text::from(named(id))));
    span.attributes.extend(id);
    span
}

/// Whoever reports a call chooses these: bounded, and nothing that leads a terminal astray.
fn named(name: &str) -> String {
    let sound = name.chars().filter(|c| !c.is_control());
    sound.take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> ToolCall<'static> {
        ToolCall {
            tool: "query_orders",
            call: Some("call_7"),
            agent: "spiffe://dev.example/agent/demo",
            error: None,
            start: 5,
            end: 9,
        }
    }

    fn context() -> TraceContext {
        TraceContext::new([7; 16], [3; 8], 1).unwrap()
    }

    #[test]
    fn a_call_is_named_as_the_conventions_have_it() {
        let span = tool_call_span(&call(), context());
        assert_eq!(span.name, "execute_tool query_orders");
        assert_eq!((span.trace, span.parent), ([7; 16], Some([3; 8])));
        assert_eq!(
            (span.start, span.end, span.kind),
            (5, 9, SpanKind::Internal)
        );
        let text = |text: &'static str| Text::from(text.to_owned());
        let expected = [
            ("gen_ai.operation.name", Text::from("execute_tool")),
            ("gen_ai.tool.name", text("query_orders")),
            ("gen_ai.agent.id", text("spiffe://dev.example/agent/demo")),
            ("gen_ai.tool.call.id", text("call_7")),
        ];
        assert_eq!(span.attributes, expected);
        assert_eq!(span.error, None);
    }

    #[test]
    fn a_failure_has_its_word_and_a_call_without_an_id_has_none() {
        let failed = ToolCall {
            call: None,
            error: Some("refused"),
            ..call()
        };
        let span = tool_call_span(&failed, context());
        assert_eq!(span.error.as_deref(), Some("refused"));
        assert!(
            !span
                .attributes
                .iter()
                .any(|(name, _)| *name == "gen_ai.tool.call.id")
        );
    }

    #[test]
    fn names_are_bounded_and_a_call_does_not_end_before_it_began() {
        let long = "x\n".repeat(1000);
        let odd = ToolCall {
            tool: &long,
            end: 1,
            ..call()
        };
        let span = tool_call_span(&odd, context());
        assert_eq!(span.name, format!("execute_tool {}", "x".repeat(MAX_NAME)));
        assert_eq!((span.start, span.end), (5, 5));
    }
}
