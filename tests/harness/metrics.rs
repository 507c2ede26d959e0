//! Reading what `/metrics` says.

/// The series of one scrape.
pub struct Metrics(Vec<(String, f64)>);

impl Metrics {
    /// Those in the text.
    pub fn read(text: &str) -> Metrics {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let series = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        });
        Metrics(series.collect())
    }

    /// The sum over all series of this name that carry these labels; 0 where there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let matches = |series: &str| {
            let (found, labels) = series.split_once('{').unwrap_or((series, ""));
            found == name && wanted.iter().all(|label| labels.contains(label.as_str()))
        };
        self.0.iter().filter(|(series, _)| matches(series)).map(|(_, value)| value).sum()
    }

    /// The names of all series, labels included.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }
}
