//! Runs one broker until interrupted: `broker <server.properties> [key=value…]`. For trying the crate by itself; the
//! product is `zoolog kafka-server`.

use kafka_broker::Config;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("usage: broker <server.properties> [key=value…]")?;
    let overrides: Vec<(String, String)> =
        arguments.filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
    let properties = properties::Properties::load(file.as_ref())?;
    let (config, notices) = Config::from_properties(&properties, &overrides)?;
    notices.iter().for_each(|notice| tracing::warn!("{notice}"));
    let handle = kafka_broker::start(config).await?;
    tokio::signal::ctrl_c().await?;
    handle.stop().await;
    Ok(())
}
