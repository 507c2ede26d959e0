//! What an operator sees of an edge: figures of its metrics, and entries of its audit.
//!
//! Never: changes anything.

use serde_json::Value;

use crate::cli::edge::Edge;
use crate::cli::failure::Failure;
use crate::cli::wire::{at, items};

/// The metrics of one moment.
#[derive(Debug, Clone, Default)]
pub struct Metrics(String);

impl Metrics {
    /// Those of now.
    pub fn of(edge: &Edge) -> Result<Self, Failure> {
        edge.text("/metrics").map(Self)
    }

    /// The sum over all series of this name that have these labels; 0 where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let values = self.0.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (named, rest) = series.split_once('{').unwrap_or((series, ""));
            let has = |(key, value): &(&str, &str)| {
                let wanted = format!("{key}=\"{value}\"");
                rest.trim_end_matches('}').split(',').any(|label| label == wanted)
            };
            (named == name && labels.iter().all(has)).then(|| value.parse::<f64>().ok())?
        });
        values.sum()
    }

    /// By how much a sum has grown since `before`.
    pub fn grown(&self, before: &Self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sum(name, labels) - before.sum(name, labels)
    }
}

/// The number of the newest entry of the audit; 0: there is none.
pub fn newest(edge: &Edge) -> Result<u64, Failure> {
    let audit = edge.read("/v1/audit?limit=1")?;
    Ok(items(&audit, &["entries"]).first().and_then(|entry| at(entry, &["seq"]).as_u64()).unwrap_or(0))
}

/// The entries of the audit behind the one of number `since`, that tell of `action`.
pub fn entries(edge: &Edge, since: u64, action: &str) -> Result<Vec<Value>, Failure> {
    let audit = edge.read(&format!("/v1/audit?since={since}&action={action}&limit=1000"))?;
    Ok(items(&audit, &["entries"]).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_over_the_series_that_fit() {
        let text = "# HELP a b\n# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\na{x=\"2\"} 5\nab 6\nb 7\n";
        let metrics = Metrics(text.into());
        assert_eq!(metrics.sum("a", &[("x", "1")]), 7.0);
        assert_eq!(metrics.sum("a", &[]), 12.0);
        assert_eq!((metrics.sum("b", &[]), metrics.sum("c", &[])), (7.0, 0.0));
        assert_eq!(metrics.grown(&Metrics("a{x=\"1\"} 2\n".into()), "a", &[("x", "1")]), 5.0);
    }
}
