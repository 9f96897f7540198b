//! What was measured: samples by measure and side, medians, ratios.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::systems::Side;

/// Which way is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

/// One line of the table.
#[derive(Debug)]
pub struct Line {
    pub name: String,
    pub unit: &'static str,
    pub better: Better,
    samples: [Vec<f64>; 2],
}

impl Line {
    /// The middle of one side's samples; `None` without any.
    pub fn median(&self, side: Side) -> Option<f64> {
        let mut sorted = self.samples[side as usize].clone();
        sorted.sort_by(f64::total_cmp);
        (!sorted.is_empty()).then(|| {
            let mid = sorted.len() / 2;
            if sorted.len() % 2 == 1 { sorted[mid] } else { (sorted[mid - 1] + sorted[mid]) / 2.0 }
        })
    }

    fn range(&self, side: Side) -> Option<(f64, f64)> {
        let samples = &self.samples[side as usize];
        let least = samples.iter().copied().reduce(f64::min)?;
        let most = samples.iter().copied().reduce(f64::max)?;
        Some((least, most))
    }

    /// How many times better zoolog is than the original; below 1 it is worse.
    pub fn advantage(&self) -> Option<f64> {
        let (ours, theirs) = (self.median(Side::Zoolog)?, self.median(Side::Apache)?);
        let ratio = match self.better {
            Better::Higher => ours / theirs,
            Better::Lower => theirs / ours,
        };
        ratio.is_finite().then_some(ratio)
    }
}

/// All lines, in the order in which they were first measured.
#[derive(Debug, Default)]
pub struct Table {
    lines: Vec<Line>,
}

impl Table {
    pub fn add(&mut self, side: Side, name: &str, unit: &'static str, better: Better, value: f64) {
        eprintln!("  {name}: {} {unit}", shown(value));
        let line = match self.lines.iter().position(|line| line.name == name && line.unit == unit) {
            Some(at) => &mut self.lines[at],
            None => {
                self.lines.push(Line { name: name.to_owned(), unit, better, samples: Default::default() });
                self.lines.last_mut().expect("one was just pushed")
            }
        };
        line.samples[side as usize].push(value);
    }

    /// The three percentiles that every latency is reported by.
    pub fn add_latency(&mut self, side: Side, name: &str, latency: &Histogram<u64>) {
        for (label, percentile) in [("p50", 50.0), ("p99", 99.0), ("p999", 99.9)] {
            let micros = latency.value_at_percentile(percentile) as f64;
            self.add(side, &format!("{name}, {label}"), "ms", Better::Lower, micros / 1000.0);
        }
    }

    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub fn to_markdown(&self) -> String {
        let mut out =
            String::from("| measure | unit | zoolog | Apache | better by |\n|---|---|--:|--:|--:|\n");
        for line in &self.lines {
            let side = |side| match (line.median(side), line.range(side)) {
                (Some(median), Some((least, most))) => {
                    format!("{} ({}–{})", shown(median), shown(least), shown(most))
                }
                _ => "–".to_owned(),
            };
            let advantage = line.advantage().map_or("–".to_owned(), |a| format!("{a:.2} ×"));
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {advantage} |",
                line.name,
                line.unit,
                side(Side::Zoolog),
                side(Side::Apache)
            );
        }
        out
    }
}

/// Three significant figures.
fn shown(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// An empty latency histogram in microseconds, up to a minute.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are valid")
}

/// Records a duration, at least a microsecond.
pub fn record(histogram: &mut Histogram<u64>, elapsed: Duration) {
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    histogram.saturating_record(micros.max(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advantage_is_above_one_where_zoolog_is_better() {
        let mut table = Table::default();
        for value in [1.0, 3.0, 2.0] {
            table.add(Side::Zoolog, "start", "s", Better::Lower, value);
            table.add(Side::Apache, "start", "s", Better::Lower, value * 4.0);
        }
        assert_eq!(table.lines()[0].median(Side::Zoolog), Some(2.0));
        assert_eq!(table.lines()[0].advantage(), Some(4.0));
    }
}
