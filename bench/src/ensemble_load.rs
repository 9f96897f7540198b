//! Throughput of three servers on one machine, and what observers do to reads.
//!
//! All servers and the load generator share the processors, so throughput says what a request costs all of them
//! together; what observers are for shows in what each single server still has to do.

use anyhow::Result;

use crate::ensemble::Ensemble;
use crate::measure::{Better, Table};
use crate::process::cpu_of_each;
use crate::systems::Side;
use crate::zk_load::{Operation, Work, run};

/// Sessions, requests in flight of each, and how many requests are made in all.
const LOADS: [(usize, usize, usize); 3] = [(1, 1, 6_000), (128, 1, 80_000), (16, 32, 120_000)];
const OPERATIONS: [Operation; 4] = [Operation::Create, Operation::Set, Operation::Get, Operation::Mixed];
/// Reads of every ensemble in the comparison with observers.
const READS: (usize, usize, usize) = (60, 8, 240_000);

/// Creates, sets, gets and both together, spread over three voters.
pub fn measure(side: Side, scale: usize, table: &mut Table) -> Result<()> {
    let ensemble = Ensemble::start(side, 3, 0)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    warm_up(&ensemble, &runtime, scale)?;
    for (index, (sessions, in_flight, requests)) in LOADS.into_iter().enumerate() {
        let base = format!("/load{index}");
        let servers = ensemble.clients();
        let work = Work { servers, base, sessions, in_flight, requests: requests / scale };
        for operation in OPERATIONS {
            let (done, cpu) = cpu_of_each(&ensemble.pids(), || run(&runtime, &work, operation))?;
            let name = format!("3 servers: {} {sessions} × {in_flight}", operation.name());
            table.add(side, &name, "per s", Better::Higher, done.per_second());
            table.add_latency(side, &name, &done.latency);
            let all = done.per_100k(cpu.iter().sum());
            table.add(side, &name, "CPU-s per 100 k, all servers", Better::Lower, all);
        }
    }
    Ok(())
}

/// The same reads on three servers, and on three with two observers.
pub fn measure_observers(side: Side, scale: usize, table: &mut Table) -> Result<()> {
    for observers in [0, 2] {
        let ensemble = Ensemble::start(side, 3, observers)?;
        let leader = ensemble.leader()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        warm_up(&ensemble, &runtime, scale)?;
        let (sessions, in_flight, requests) = READS;
        let servers = ensemble.clients();
        let work = Work { servers, base: "/reads".into(), sessions, in_flight, requests: requests / scale };
        let name = match observers {
            0 => format!("3 servers: reads {sessions} × {in_flight}"),
            n => format!("3 servers and {n} observers: reads {sessions} × {in_flight}"),
        };
        run(&runtime, &work, Operation::Create)?;
        let (done, cpu) = cpu_of_each(&ensemble.pids(), || run(&runtime, &work, Operation::Get))?;
        let busiest = cpu.iter().copied().fold(0.0, f64::max);
        table.add(side, &name, "per s", Better::Higher, done.per_second());
        let mut add = |what, cpu| table.add(side, &name, what, Better::Lower, done.per_100k(cpu));
        add("CPU-s per 100 k, all servers", cpu.iter().sum());
        add("CPU-s per 100 k, busiest server", busiest);
        add("CPU-s per 100 k, leader", cpu[leader]);
    }
    Ok(())
}

/// A JVM is measured warm, and three of them take longer to be.
fn warm_up(ensemble: &Ensemble, runtime: &tokio::runtime::Runtime, scale: usize) -> Result<()> {
    let servers = ensemble.clients();
    let work = Work { servers, base: "/warm".into(), sessions: 15, in_flight: 32, requests: 90_000 / scale };
    for operation in OPERATIONS {
        run(runtime, &work, operation)?;
    }
    Ok(())
}
