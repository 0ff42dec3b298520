//! Figures, as a table or as JSON.

use anyhow::Result;
use serde::Serialize;

/// One figure, beside that of a peer where there is one.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// The benchmark.
    pub(crate) bench: &'static str,
    /// What was measured.
    pub(crate) metric: &'static str,
    /// The figure.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// Who else did the same work in the same run.
    pub(crate) peer: Option<&'static str>,
    /// The peer's figure.
    pub(crate) peer_value: Option<f64>,
    /// Ours divided by the peer's.
    pub(crate) ratio: Option<f64>,
}

impl Row {
    /// A figure without a peer.
    pub(crate) fn alone(
        bench: &'static str,
        metric: &'static str,
        value: f64,
        unit: &'static str,
    ) -> Self {
        Self { bench, metric, value, unit, peer: None, peer_value: None, ratio: None }
    }

    /// The figure beside that of `peer`.
    pub(crate) fn beside(self, peer: &'static str, peer_value: f64) -> Self {
        Self {
            peer: Some(peer),
            peer_value: Some(peer_value),
            ratio: Some(self.value / peer_value),
            ..self
        }
    }
}

/// Prints the rows: one JSON object a line, or a table.
pub(crate) fn print(rows: &[Row], json: bool) -> Result<()> {
    if json {
        for row in rows {
            println!("{}", serde_json::to_string(row)?);
        }
        return Ok(());
    }
    println!("{:<26}{:>12} {:<6}{:>12}  {:>7}  peer", "metric", "value", "unit", "peer", "ratio");
    for row in rows {
        let peer = row.peer_value.map_or(String::new(), figure);
        let ratio = row.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        println!(
            "{:<26}{:>12} {:<6}{:>12}  {:>7}  {}",
            row.metric,
            figure(row.value),
            row.unit,
            peer,
            ratio,
            row.peer.unwrap_or("")
        );
    }
    Ok(())
}

/// Three digits or more.
fn figure(value: f64) -> String {
    match value {
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
