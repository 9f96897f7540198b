//! From the loss of the leader to the first write that is served again: killed, and cut off from everybody.
//!
//! A killed leader's sockets are closed, so the others know at once. Of a leader that is only cut off nobody is told:
//! what counts then is how long silence is borne. Clients write all the time, on every server; one that loses its
//! server, or waits too long, takes its session to the next.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::time::timeout;

use crate::ensemble::Ensemble;
use crate::measure::{Better, Table};
use crate::network::Network;
use crate::systems::Side;
use crate::zk_session::{Session, Ticket, create, set};

/// Writers on each server.
const WRITERS: usize = 4;
/// How long they write before the leader goes.
const LOADED: Duration = Duration::from_millis(700);
/// Every writer must be served again within this.
const LIMIT: Duration = Duration::from_secs(60);
/// A client that waits for an answer this long tries the next server. Writers are out of step, so that the first
/// served write is seen within a fraction of it.
const PATIENCE: Duration = Duration::from_millis(300);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(3);

/// `trials` losses of each kind.
pub fn measure(side: Side, trials: usize, table: &mut Table) -> Result<()> {
    let mut ensemble = Ensemble::start(side, 3, 0)?;
    for _ in 0..trials {
        let mut back = Back::default();
        let leader = trial(&mut ensemble, &mut back, |ensemble, leader| ensemble.kill(leader))?;
        back.add_to(table, side, "leader killed");
        ensemble.restart(leader)?;
        ensemble.await_serving()?;
    }
    drop(ensemble);
    if !Network::is_possible() {
        eprintln!("  leader cut off: left out, it needs root and iproute2");
        return Ok(());
    }
    // Sockets belong to the namespace of the thread that makes them.
    let cut_off = || -> Result<Vec<Back>> {
        let network = Network::new()?;
        network.move_in_as_client()?;
        let mut ensemble = Ensemble::start_on(side, &network)?;
        let mut all = Vec::new();
        for _ in 0..trials {
            let mut back = Back::default();
            let leader = trial(&mut ensemble, &mut back, |_, leader| network.cut_off(leader))?;
            all.push(back);
            network.heal(leader)?;
            ensemble.await_serving()?;
        }
        Ok(all)
    };
    let all = std::thread::scope(|scope| scope.spawn(cut_off).join());
    let all = all.map_err(|_| anyhow::anyhow!("the thread on the clients' host panicked"))??;
    all.iter().for_each(|back| back.add_to(table, side, "leader cut off"));
    Ok(())
}

/// When writes were served again, counted from the loss.
#[derive(Debug, Default)]
struct Back {
    first: Duration,
    /// When every writer had been served.
    last: Duration,
}

impl Back {
    fn add_to(&self, table: &mut Table, side: Side, how: &str) {
        let mut add = |what: &str, time: Duration| {
            let name = format!("3 servers: {how}, to {what}");
            table.add(side, &name, "s", Better::Lower, time.as_secs_f64());
        };
        add("the first served write", self.first);
        add("every client's next write", self.last);
    }
}

/// Loses the leader under load; returns which server it was.
fn trial(
    ensemble: &mut Ensemble,
    back: &mut Back,
    lose: impl FnOnce(&mut Ensemble, usize) -> Result<()>,
) -> Result<usize> {
    let leader = ensemble.leader()?;
    let servers = ensemble.clients();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let seen = Rc::new(Seen::new(servers.len() * WRITERS));
        let tasks: Vec<_> = (0..seen.served.borrow().len())
            .map(|index| tokio::task::spawn_local(write_for_ever(index, servers.clone(), Rc::clone(&seen))))
            .collect();
        wait_for("every writer's first write", || seen.all(|at| at.is_some())).await?;
        tokio::time::sleep(LOADED).await;
        let lost = Instant::now();
        seen.lost.set(Some(lost));
        lose(ensemble, leader)?;
        wait_for("a write of every writer", || seen.all(|at| at.is_some_and(|at| at > lost))).await?;
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        let times: Vec<Duration> =
            seen.served.borrow().iter().flatten().map(|at| at.duration_since(lost)).collect();
        back.first = times.iter().copied().min().context("writers wrote")?;
        back.last = times.iter().copied().max().context("writers wrote")?;
        Ok(leader)
    })
}

/// What the writers have been answered.
struct Seen {
    lost: Cell<Option<Instant>>,
    /// For each writer when its first write was answered that counts: any before the loss, and after it one that was
    /// sent after it. Such a one cannot have been carried out by the leader that was lost.
    served: RefCell<Vec<Option<Instant>>>,
}

impl Seen {
    fn new(writers: usize) -> Self {
        Self { lost: Cell::new(None), served: RefCell::new(vec![None; writers]) }
    }

    fn note(&self, writer: usize, sent: Instant) {
        let at = &mut self.served.borrow_mut()[writer];
        let counts = match (self.lost.get(), *at) {
            (None, _) | (Some(_), None) => true,
            (Some(lost), Some(before)) => sent > lost && before < lost,
        };
        if counts {
            *at = Some(Instant::now());
        }
    }

    fn all(&self, condition: impl Fn(Option<Instant>) -> bool) -> bool {
        self.served.borrow().iter().all(|at| condition(*at))
    }
}

async fn wait_for(what: &str, condition: impl Fn() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !condition() {
        ensure!(begun.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Writes one node again and again, on one server as long as it answers.
async fn write_for_ever(index: usize, servers: Vec<SocketAddr>, seen: Rc<Seen>) {
    let path = format!("/failover-{index}");
    let mut ticket: Option<Ticket> = None;
    // Out of step with the others.
    tokio::time::sleep(PATIENCE * index as u32 / 12).await;
    for at in index.. {
        let server = servers[at % servers.len()];
        // An error, or no answer in time: the next server.
        let _ = write_on(server, &path, &mut ticket, &|sent| seen.note(index, sent)).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn write_on(
    server: SocketAddr,
    path: &str,
    ticket: &mut Option<Ticket>,
    note: &impl Fn(Instant),
) -> Result<()> {
    let connecting = async {
        match &*ticket {
            Some(known) => Session::resume(server, known).await,
            None => Session::open(server).await,
        }
    };
    let mut session = timeout(PATIENCE, connecting).await??;
    if ticket.is_none() {
        // It may be there from another trial.
        let _ = timeout(PATIENCE, session.ask(&create(path.to_owned(), b""))).await?;
    }
    *ticket = Some(session.ticket.clone());
    loop {
        let sent = Instant::now();
        timeout(PATIENCE, session.ask(&set(path.to_owned(), b"x"))).await??;
        note(sent);
    }
}
