//! Prometheus' text format, as far as tests ask it. `promtool` judges it whole: `just prometheus`.

use std::collections::{BTreeMap, BTreeSet};

/// One scrape.
#[derive(Debug)]
pub(super) struct Exposed {
    pub(super) text: String,
    types: BTreeSet<(String, String)>,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

// === impl Exposed ===

impl Exposed {
    pub(super) fn read(text: &str) -> Self {
        let types = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self {
            text: text.to_owned(),
            types: types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect(),
            samples: samples.map(sample).collect(),
        }
    }

    /// Names and types.
    pub(super) fn families(&self) -> BTreeSet<(String, String)> {
        self.types.clone()
    }

    /// The sample with these labels and no others.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: BTreeMap<_, _> = labels
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let found = self
            .samples
            .iter()
            .find(|sample| sample.name == name && sample.labels == labels);
        Some(found?.value)
    }

    /// Whether a sample of this name is of the backend.
    pub(super) fn has(&self, name: &str, backend: &str) -> bool {
        let of = |sample: &Sample| sample.labels.get("backend").is_some_and(|value| value == backend);
        self.samples.iter().any(|sample| sample.name == name && of(sample))
    }

    /// The names of labels of each sample of a family, without what makes a histogram.
    pub(super) fn labels(&self, family: &str) -> Vec<Vec<String>> {
        let parts = ["", "_bucket", "_sum", "_count"].map(|part| format!("{family}{part}"));
        let own = self.samples.iter().filter(|sample| parts.contains(&sample.name));
        own.map(|sample| sample.labels.keys().filter(|key| *key != "le").cloned().collect())
            .collect()
    }
}

/// Values here have no quotes and no commas in them.
fn sample(line: &str) -> Sample {
    let (what, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = what.split_once('{').unwrap_or((what, "}"));
    let labels = labels
        .strip_suffix('}')
        .unwrap()
        .split(',')
        .filter(|label| !label.is_empty());
    let labels = labels.map(|label| {
        let (key, value) = label.split_once('=').unwrap();
        (key.to_owned(), value.trim_matches('"').to_owned())
    });
    Sample {
        name: name.to_owned(),
        labels: labels.collect(),
        value: value.parse().unwrap(),
    }
}
