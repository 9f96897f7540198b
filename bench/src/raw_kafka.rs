//! Small requests without a client library in the way: one record a request, on one connection.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use kafka_proto::frame::encode_request;
use kafka_proto::messages::metadata::{MetadataRequest, MetadataResponse};
use kafka_proto::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use kafka_proto::messages::{Message, Request};
use kafka_proto::records::{BatchBuilder, BatchOptions};
use kafka_proto::wire::Reader;

use crate::kafka_load::create_topic;
use crate::measure::{Better, Table, latencies, record};
use crate::process::cpu_during;
use crate::systems::{Pair, Side};

/// Versions both sides serve, below the flexible ones.
const PRODUCE_VERSION: i16 = 8;
const METADATA_VERSION: i16 = 1;
const IN_FLIGHT: usize = 5;

/// Does the broker answer, and does it know itself?
pub fn probe(port: u16) -> Result<()> {
    let mut connection = Connection::open(port)?;
    connection.send(&MetadataRequest { topics: None, ..MetadataRequest::default() }, METADATA_VERSION)?;
    let response: MetadataResponse = connection.receive(METADATA_VERSION)?;
    ensure!(!response.brokers.is_empty(), "no broker is registered yet");
    // Apache knows its brokers a moment before its controller; a client that asks then waits for a minute.
    ensure!(response.controller_id >= 0, "no controller is known yet");
    Ok(())
}

/// One 100 B record a request, five requests in flight.
pub fn measure_requests(side: Side, pair: &Pair, scale: usize, table: &mut Table) -> Result<()> {
    let requests = 100_000 / scale;
    create_topic(&pair.bootstrap(), "requests", 1)?;
    for acks in [1, -1] {
        // Once to warm up, once to count.
        one_record_requests(pair.broker.port, acks, requests)?;
        let (seconds, cpu) =
            cpu_during(&[pair.broker.pid()], || one_record_requests(pair.broker.port, acks, requests))?;
        let name = format!("one-record requests, acks {acks}, 5 in flight");
        table.add(side, &name, "per s", Better::Higher, requests as f64 / seconds);
        table.add(side, &name, "CPU-s per 100 k", Better::Lower, cpu * 100_000.0 / requests as f64);
    }
    Ok(())
}

fn one_record_requests(port: u16, acks: i16, requests: usize) -> Result<f64> {
    let mut connection = Connection::open(port)?;
    let request = one_record("requests", acks)?;
    let begun = Instant::now();
    let mut waiting = 0;
    for _ in 0..requests {
        if waiting == IN_FLIGHT {
            connection.acknowledged()?;
            waiting -= 1;
        }
        connection.send(&request, PRODUCE_VERSION)?;
        waiting += 1;
    }
    for _ in 0..waiting {
        connection.acknowledged()?;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// One record every half millisecond, whether or not the last one is answered: latency from when it was due.
pub fn measure_latency(side: Side, pair: &Pair, scale: usize, table: &mut Table) -> Result<()> {
    const RATE: u32 = 2_000;
    let requests = 20_000 / scale;
    create_topic(&pair.bootstrap(), "latency", 1)?;
    // What the loads before this have left in the page cache is written back first: it would be measured otherwise.
    rustix::fs::sync();
    let request = one_record("latency", -1)?;
    let mut connection = Connection::open(pair.broker.port)?;
    let mut reader = connection.try_clone()?;
    let gap = Duration::from_secs(1) / RATE;
    let (due_tx, due_rx) = std::sync::mpsc::channel::<Instant>();
    let replies = std::thread::spawn(move || -> Result<_> {
        let mut latency = latencies();
        for due in due_rx {
            reader.acknowledged()?;
            record(&mut latency, due.elapsed());
        }
        Ok(latency)
    });
    let begun = Instant::now();
    for n in 0..requests {
        let due = begun + gap * u32::try_from(n)?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        connection.send(&request, PRODUCE_VERSION)?;
        due_tx.send(due)?;
    }
    drop(due_tx);
    let latency = replies.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    table.add_latency(side, &format!("produce at {RATE} per s, acks all"), &latency);
    Ok(())
}

fn one_record(topic: &str, acks: i16) -> Result<ProduceRequest> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.append(now_ms(), None, Some(&[b'x'; 100]), &[])?;
    let records = Bytes::from(batch.finish()?);
    Ok(ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![PartitionProduceData { index: 0, records: Some(records) }],
        }],
        ..ProduceRequest::default()
    })
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// A blocking connection that frames requests by hand.
struct Connection {
    stream: TcpStream,
    next_correlation: i32,
}

impl Connection {
    fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream, next_correlation: 0 })
    }

    /// A second handle that only reads replies, in order.
    fn try_clone(&self) -> Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, next_correlation: 0 })
    }

    fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<()> {
        let frame = encode_request(request, version, self.next_correlation, Some("bench"))?;
        self.next_correlation += 1;
        let body = frame.to_bytes().context("requests hold no file regions")?;
        self.stream.write_all(&body)?;
        Ok(())
    }

    fn receive<T: Message>(&mut self, version: i16) -> Result<T> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        let mut frame = vec![0; u32::from_be_bytes(len) as usize];
        self.stream.read_exact(&mut frame)?;
        let mut r = Reader::new(Bytes::from(frame));
        let _correlation = r.i32()?;
        Ok(T::read(&mut r, version)?)
    }

    fn acknowledged(&mut self) -> Result<()> {
        let response: ProduceResponse = self.receive(PRODUCE_VERSION)?;
        let partition = response.responses.first().and_then(|t| t.partition_responses.first());
        let code = partition.context("an empty response")?.error_code;
        ensure!(code == 0, "produce failed with error {code}");
        Ok(())
    }
}
