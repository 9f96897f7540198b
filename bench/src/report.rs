//! The results as files: a table in Markdown, and a picture of the ratios.

use std::fs;

use anyhow::Result;
use plotters::prelude::*;

use crate::measure::{Line, Table};
use crate::systems::{APACHE_KAFKA, APACHE_ZOOKEEPER};

/// Writes `bench/RESULTS.md` and the pictures in the checkout. The part of a table without lines stays as it is.
pub fn write(alone: &Table, ensembles: &Table, rounds: usize, trials: usize) -> Result<()> {
    let dir = testkit::zoolog::repository().join("bench");
    let path = dir.join("RESULTS.md");
    let old = fs::read_to_string(&path).unwrap_or_default();
    let mut text = format!(
        "# Results\n\nWritten by `cargo run --release -p bench -- --write`. zoolog against {APACHE_ZOOKEEPER} and \
         {APACHE_KAFKA} in turn on the same machine, the load generator beside them. Medians, least and most in \
         parentheses. Only the last column carries over to other machines.\n"
    );
    let machine = machine();
    let parts = [
        Part {
            title: "One server, one broker",
            picture: "ratios.svg",
            table: alone,
            about: format!("`--rounds {rounds}`: medians of {rounds} rounds. Machine: {machine}."),
        },
        Part {
            title: "Ensembles",
            picture: "ensemble-ratios.svg",
            table: ensembles,
            about: format!(
                "Medians of {rounds} rounds, and of {trials} losses of the leader of each kind. All servers and the \
                 load generator share the processors; sessions are spread over all servers. tickTime 2000, syncLimit \
                 5 on both sides. Machine: {machine}."
            ),
        },
    ];
    for part in parts {
        text += &part.text(&old);
        part.draw(&dir)?;
    }
    Ok(fs::write(path, text)?)
}

/// A section of the results that is measured, and written, on its own.
struct Part<'a> {
    title: &'static str,
    picture: &'static str,
    table: &'a Table,
    about: String,
}

impl Part<'_> {
    /// The section as measured, or as it stood.
    fn text(&self, old: &str) -> String {
        let heading = format!("\n## {}\n", self.title);
        if self.table.lines().is_empty() {
            let Some((_, section)) = old.split_once(&heading) else { return String::new() };
            let end = section.find("\n## ").unwrap_or(section.len());
            return format!("{heading}{}", &section[..end]);
        }
        let table = self.table.to_markdown();
        format!("{heading}\n{}\n\n![How many times better]({})\n\n{table}", self.about, self.picture)
    }

    fn draw(&self, dir: &std::path::Path) -> Result<()> {
        draw(self.table, &dir.join(self.picture))
    }
}

fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("unknown processor");
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = meminfo
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:"))
        .and_then(|l| l.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = model.trim_start_matches(['\t', ':', ' ']);
    format!("{cpus} × {model}, {} GiB, Linux {}, loopback", kib / (1 << 20), kernel.trim())
}

/// One bar a measure, to the right where zoolog is better, on a logarithmic axis.
fn draw(table: &Table, path: &std::path::Path) -> Result<()> {
    let rows: Vec<(&Line, f64)> = table.lines().iter().filter_map(|l| Some((l, l.advantage()?))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let height = u32::try_from(rows.len())? * 16 + 80;
    let most = rows.iter().map(|(_, a)| a.max(1.0 / a)).fold(2.0, f64::max).log2().ceil();
    let root = SVGBackend::new(path, (900, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let count = rows.len() as f64;
    let mut chart = ChartBuilder::on(&root)
        .margin(10)
        .caption("zoolog against Apache: how many times better (logarithmic)", ("sans-serif", 18))
        .x_label_area_size(30)
        .y_label_area_size(0)
        .build_cartesian_2d(-most * 2.2..most, 0.0..count)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_label_formatter(&|x| if *x < -most { String::new() } else { format!("{} ×", trimmed(x.exp2())) })
        .draw()?;
    for (index, (line, advantage)) in rows.iter().enumerate() {
        let y = count - index as f64 - 1.0;
        let colour = if *advantage >= 1.0 { RGBColor(38, 128, 84) } else { RGBColor(190, 70, 50) };
        let bar = Rectangle::new([(0.0, y + 0.15), (advantage.log2(), y + 0.85)], colour.filled());
        chart.draw_series(std::iter::once(bar))?;
        let label = format!("{} [{}]", line.name, line.unit);
        let text = Text::new(label, (-most * 2.2, y + 0.8), ("sans-serif", 12));
        chart.draw_series(std::iter::once(text))?;
    }
    root.present()?;
    Ok(())
}

fn trimmed(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("1/{:.0}", 1.0 / value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Better;
    use crate::systems::Side;

    #[test]
    fn a_part_that_was_not_measured_stays_as_it_stood() {
        let empty = Table::default();
        let mut full = Table::default();
        full.add(Side::Zoolog, "x", "s", Better::Lower, 1.0);
        let part = |title, table| Part { title, picture: "p.svg", table, about: "How.".into() };
        let old = "# Results\n\n## A\n\nold A\n\n## B\n\nold B\n";
        assert_eq!(part("A", &empty).text(old), "\n## A\n\nold A\n");
        assert_eq!(part("B", &empty).text(old), "\n## B\n\nold B\n");
        assert!(
            part("B", &full)
                .text(old)
                .starts_with("\n## B\n\nHow.\n\n![How many times better](p.svg)\n\n| measure")
        );
    }
}
