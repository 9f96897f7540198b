//! Log lines in the shape of Kafka's own log4j layout, `[%d] %p %m (%c)`, because scripts look for it.
//!
//! `ZOOLOG_LOG` sets the level, for everything (`debug`) or by crate (`info,zk_server=debug`).

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Logs to standard output, as a server in the foreground does.
pub fn to_stdout() {
    let lines = tracing_subscriber::fmt::layer().event_format(Line).with_writer(io::stdout);
    tracing_subscriber::registry().with(lines).with(levels()).init();
}

/// Logs to a file, and warnings to standard error as well.
pub fn to_file(path: &Path) -> io::Result<()> {
    let file = File::options().create(true).append(true).open(path)?;
    let lines = tracing_subscriber::fmt::layer().event_format(Line).with_writer(Mutex::new(file));
    let warnings = tracing_subscriber::fmt::layer()
        .event_format(Line)
        .with_writer(tracing_subscriber::fmt::writer::WithMaxLevel::new(io::stderr, Level::WARN));
    tracing_subscriber::registry().with(lines).with(warnings).with(levels()).init();
    Ok(())
}

fn levels() -> Targets {
    let default = Targets::new().with_default(LevelFilter::INFO);
    let Ok(text) = std::env::var("ZOOLOG_LOG") else { return default };
    text.parse().unwrap_or_else(|error| {
        eprintln!("ZOOLOG_LOG={text}: {error}; logging at info");
        default
    })
}

/// `[2026-11-21 18:55:33,123] INFO message (target)`
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = jiff::Zoned::now();
        let meta = event.metadata();
        let millis = now.subsec_nanosecond() / 1_000_000;
        write!(out, "[{},{millis:03}] {} ", now.strftime("%Y-%m-%d %H:%M:%S"), meta.level())?;
        context.format_fields(out.by_ref(), event)?;
        writeln!(out, " ({})", meta.target())
    }
}
