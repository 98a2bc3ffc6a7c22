//! What frameworks ask for, and which evidence bears on it. Facts as of November 2026.

use super::kind::Kind::{self, E1, E2, E3, E4, E5, E6, E7, E8, E9, E10};

/// A published framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framework {
    /// What it is called on the command line.
    pub id: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// Which edition the identifiers are of.
    pub edition: &'static str,
    /// Those of its controls that were looked at.
    pub controls: &'static [Control],
}

/// One thing that a framework asks for or warns of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its identifier.
    pub id: &'static str,
    /// Its title or, if it was found without one, what it is about.
    pub title: &'static str,
    /// What bears on it; empty if the broker does not.
    pub kinds: &'static [Kind],
    /// Whether that is a part of it only, whatever is recorded.
    pub partial: bool,
}

const fn full(id: &'static str, title: &'static str, kinds: &'static [Kind]) -> Control {
    Control {
        id,
        title,
        kinds,
        partial: false,
    }
}

const fn partial(id: &'static str, title: &'static str, kinds: &'static [Kind]) -> Control {
    Control {
        id,
        title,
        kinds,
        partial: true,
    }
}

/// Every framework that a report can be written for.
pub static ALL: [Framework; 6] = [
    Framework {
        id: "owasp-agentic-2026",
        name: "OWASP Top 10 for Agentic Applications",
        edition: "2026",
        controls: &OWASP_AGENTIC,
    },
    Framework {
        id: "owasp-nhi-2025",
        name: "OWASP Non-Human Identities Top 10",
        edition: "2025",
        controls: &OWASP_NHI,
    },
    Framework {
        id: "nist-ai-rmf",
        name: "NIST AI Risk Management Framework",
        edition: "1.0, 2023",
        controls: &NIST_AI_RMF,
    },
    Framework {
        id: "nist-csf-2",
        name: "NIST Cybersecurity Framework",
        edition: "2.0, 2024",
        controls: &NIST_CSF,
    },
    Framework {
        id: "csa-maestro",
        name: "CSA MAESTRO",
        edition: "2025",
        controls: &CSA_MAESTRO,
    },
    Framework {
        id: "mitre-atlas",
        name: "MITRE ATLAS",
        edition: "5.6, as of 2026",
        controls: &MITRE_ATLAS,
    },
];

const OWASP_AGENTIC: [Control; 10] = [
    partial("ASI01", "Agent Goal Hijack", &[E4, E5]),
    full("ASI02", "Tool Misuse and Exploitation", &[E2, E4, E5]),
    full("ASI03", "Identity and Privilege Abuse", &[E1, E2, E3, E9]),
    partial("ASI04", "Agentic Supply Chain Vulnerabilities", &[E1]),
    partial("ASI05", "Unexpected Code Execution (RCE)", &[E2, E8]),
    partial("ASI06", "Memory & Context Poisoning", &[E10]),
    full("ASI07", "Insecure Inter-Agent Communication", &[E1]),
    full("ASI08", "Cascading Failures", &[E3, E7, E8]),
    full("ASI09", "Human-Agent Trust Exploitation", &[E5]),
    full("ASI10", "Rogue Agents", &[E6, E8]),
];

const OWASP_NHI: [Control; 10] = [
    full("NHI1", "Improper Offboarding", &[E3]),
    full("NHI2", "Secret Leakage", &[E2, E10]),
    partial("NHI3", "Vulnerable Third-Party NHI", &[E2, E8]),
    full("NHI4", "Insecure Authentication", &[E1]),
    full("NHI5", "Overprivileged NHI", &[E4, E9]),
    partial("NHI6", "Insecure Cloud Deployment Configurations", &[E1]),
    full("NHI7", "Long-Lived Secrets", &[E2]),
    full("NHI8", "Environment Isolation", &[E1, E4]),
    full("NHI9", "NHI Reuse", &[E2]),
    full("NHI10", "Human Use of NHI", &[E1, E5]),
];

const NIST_AI_RMF: [Control; 4] = [
    full("GOVERN", "Govern", &[E4, E5]),
    full("MAP", "Map", &[E9]),
    full("MEASURE", "Measure", &[E3, E6]),
    full("MANAGE", "Manage", &[E7, E8]),
];

const NIST_CSF: [Control; 14] = [
    full("PR.AA-01", "identities and credentials managed", &[E2, E3]),
    partial("PR.AA-02", "identities proofed and bound", &[E1]),
    full("PR.AA-03", "users, services, hardware authenticated", &[E1]),
    full(
        "PR.AA-04",
        "assertions protected, conveyed, verified",
        &[E1],
    ),
    full(
        "PR.AA-05",
        "permissions in policy, enforced, reviewed",
        &[E4, E5, E9],
    ),
    full("PR.AA-06", "physical access", &[]),
    full("PR.PS-04", "log records", &[E6]),
    full("DE.CM-03", "monitoring", &[E6]),
    full("DE.CM-06", "monitoring", &[E6]),
    full("DE.CM-09", "monitoring", &[E6]),
    full("RS.AN-06", "records and their integrity", &[E6]),
    full("RS.AN-07", "records and their integrity", &[E6]),
    full("RS.MI-01", "contain", &[E3, E8]),
    full("RS.MI-02", "eradicate", &[E3, E8]),
];

const CSA_MAESTRO: [Control; 7] = [
    full("L1", "Foundation Models", &[]),
    full("L2", "Data Operations", &[]),
    full("L3", "Agent Frameworks", &[E2]),
    full("L4", "Deployment Infrastructure", &[E1]),
    full("L5", "Evaluation and Observability", &[E6]),
    full("L6", "Security and Compliance", &[E4, E6]),
    full("L7", "Agent Ecosystem", &[E1, E8]),
];

const MITRE_ATLAS: [Control; 14] = [
    full("AML.T0012", "Valid Accounts", &[E1, E2]),
    full("AML.T0053", "AI Agent Tool Invocation", &[E4]),
    full("AML.T0055", "Unsecured Credentials", &[E10]),
    full("AML.T0082", "credential harvesting", &[E2, E10]),
    full("AML.T0083", "credential harvesting", &[E2, E10]),
    full("AML.T0098", "credential harvesting", &[E2, E10]),
    full("AML.T0086", "exfiltration via tool invocation", &[E4, E5]),
    full("AML.T0101", "destruction via tool invocation", &[E4, E5]),
    full("AML.T0091.000", "Application Access Token", &[E3]),
    full("AML.T0034.002", "Agentic Resource Consumption", &[E7]),
    full("AML.M0024", "telemetry", &[E6]),
    full("AML.M0026", "agent permissions", &[E9]),
    full("AML.M0028", "tool permissions", &[E2]),
    full("AML.M0029", "human in the loop", &[E5]),
];

/// The framework of this name.
pub fn named(id: &str) -> Option<&'static Framework> {
    ALL.iter().find(|framework| framework.id == id)
}
