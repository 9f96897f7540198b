//! One run: start, faults until the time is over, heal, compare.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use clap::ValueEnum as _;
use testkit::Kind;
use zk_client::ZkClient;

use super::check::{Verdict, check};
use super::clients::{Clients, Common, LAST, REGISTERS, prepare, register};
use super::history::{Answer, Diary, Finally};
use super::plan::Fault;
use super::world::World;
use crate::client::{again, connect_super};
use crate::hosts::Hosts;
use crate::tree::{self, Tree};

/// How long sessions live without a server.
const SESSION_MS: i32 = 4_000;

/// How long a watcher may take to hear of the last change, once all is whole.
const TOLD_LIMIT: Duration = Duration::from_secs(60);

/// Something is made wrong on purpose, and the run must say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Break {
    /// Servers do not wait for their disks; only power cuts of all are drawn.
    #[value(name = "forceSync")]
    ForceSync,
    /// An acknowledged write is taken out of what the tree is found to hold.
    History,
    /// A write's answer is given another zxid.
    Zxid,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub minutes: f64,
    pub seed: u64,
    pub servers: usize,
    pub writers: usize,
    /// Only these kinds of faults; all if empty.
    pub only: Vec<Fault>,
    pub broken: Option<Break>,
    pub kind: Kind,
}

/// Runs, prints what was done and seen, and fails if a promise was broken. `hosts` holds one more host than servers:
/// this process must be on that one.
pub fn run(hosts: Hosts, options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let extra = match options.broken {
        Some(Break::ForceSync) => "forceSync=no\n",
        _ => "",
    };
    let mut world = World::new(hosts, options.servers, extra, options.kind)?;
    let kinds = kinds(options, &world);
    world.start()?;
    let common = Common::new(world.connect(), SESSION_MS);
    runtime.block_on(prepare(&common, options.writers))?;
    let mut clients = {
        let _inside = runtime.enter();
        Clients::start(&common, options.writers, options.seed)
    };
    let suffered = suffer(&mut world, options, &kinds)?;
    // The clients' sessions that are over are over by then for the servers too.
    std::thread::sleep(Duration::from_millis(2 * SESSION_MS as u64));
    common.stop.store(true, Ordering::Relaxed);
    let verdict = runtime.block_on(compare(&world, &mut clients, options))?;
    world.check_logs()?;
    report(&suffered, &verdict);
    ensure!(verdict.wrong.is_empty(), "{} promises were broken", verdict.wrong.len());
    ensure!(
        world.has_clocks() || !options.only.is_empty(),
        "clock jumps were not done: libfaketime is not installed (apt-get install faketime)"
    );
    Ok(())
}

fn kinds(options: &Options, world: &World) -> Vec<Fault> {
    if options.broken == Some(Break::ForceSync) {
        return vec![Fault::PowerAll];
    }
    let all = Fault::value_variants().iter().copied();
    all.filter(|f| options.only.is_empty() || options.only.contains(f))
        .filter(|f| world.has_clocks() || !f.is_clock())
        // On three servers a ring is whole.
        .filter(|f| *f != Fault::Ring || options.servers > 3)
        .collect()
}

/// How often each kind was suffered, and how long it took until all was whole again, in the worst case.
type Suffered = BTreeMap<Fault, (usize, Duration)>;

fn suffer(world: &mut World, options: &Options, kinds: &[Fault]) -> Result<Suffered> {
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let (mut suffered, begun) = (Suffered::new(), Instant::now());
    let end = begun + Duration::from_secs_f64(options.minutes * 60.0);
    // Every kind once in drawn order, then as they are drawn: a short run has them all too.
    let mut first = kinds.to_vec();
    rng.shuffle(&mut first);
    let mut number = 0;
    while Instant::now() < end {
        let fault = first.pop().unwrap_or_else(|| Fault::draw(&mut rng, kinds));
        let length = fault.length(&mut rng, SESSION_MS as u64);
        number += 1;
        let start = Instant::now();
        let what = world.suffer(fault, length, &mut rng).with_context(|| format!("fault {number}"))?;
        let healing = start.elapsed().saturating_sub(length);
        println!(
            "{:7.1} s  {number:4} {fault:?}: {what}; whole after {:.1} s",
            begun.elapsed().as_secs_f64(),
            healing.as_secs_f64()
        );
        let entry = suffered.entry(fault).or_default();
        *entry = (entry.0 + 1, entry.1.max(healing));
        world.tidy()?;
        // Some undisturbed time, in which things are written that the next fault may lose.
        std::thread::sleep(Duration::from_millis(rng.u64(300..2000)));
    }
    Ok(suffered)
}

async fn compare(world: &World, clients: &mut Clients, options: &Options) -> Result<Verdict> {
    let (mut diaries, sessions) = clients.diaries().await?;
    let zk = connect_super(&world.connect()).await?;
    let before_last = registers(&zk).await?;
    for n in before_last.keys() {
        let data = Some(Bytes::from(LAST.to_string()));
        again(|| zk.set_data(&register(*n), data.clone(), -1)).await?;
    }
    let told = match before_last.len() {
        REGISTERS => clients.told(TOLD_LIMIT).await,
        left => Err(anyhow!("{left} of {REGISTERS} registers are left; their watchers were not waited for")),
    };
    let tree = tree::all_equal(&world.ensemble).await?;
    let mut finally = finally(&tree, before_last);
    spoil(options.broken, &mut diaries, &mut finally);
    let mut verdict = check(&diaries, &finally);
    match told {
        Ok(told) => println!("{told} changes told by watches, the last one to every watcher"),
        Err(error) => verdict.wrong.push(error.to_string()),
    }
    drop(sessions);
    Ok(verdict)
}

/// The states of the registers that are still there, read before the last change is made.
async fn registers(zk: &ZkClient) -> Result<BTreeMap<usize, (i64, i32, u64)>> {
    again(|| zk.sync("/")).await?;
    let mut states = BTreeMap::new();
    for n in 0..REGISTERS {
        let path = register(n);
        if again(|| zk.exists(&path, false)).await?.is_none() {
            continue;
        }
        let (data, stat) = again(|| zk.get_data(&path, false)).await?;
        let data = data.unwrap_or_default();
        let value = std::str::from_utf8(&data)?.parse()?;
        states.insert(n, (stat.mzxid, stat.version, value));
    }
    Ok(states)
}

fn finally(tree: &Tree, registers: BTreeMap<usize, (i64, i32, u64)>) -> Finally {
    let below = |dir: &'static str| tree.iter().filter(move |(path, _)| path.starts_with(dir));
    Finally {
        registers,
        appended: below("/appended/").map(|(path, node)| (path.clone(), node.stat.czxid)).collect(),
        ephemerals: below("/ephemerals/")
            .map(|(path, node)| (path.clone(), node.stat.ephemeral_owner))
            .collect(),
    }
}

/// The controls: what a checker must notice.
fn spoil(broken: Option<Break>, diaries: &mut [Diary], finally: &mut Finally) {
    match broken {
        Some(Break::History) => {
            let acked = diaries.iter().flat_map(|d| &d.appended).find(|made| made.zxid.is_some());
            if let Some(made) = acked {
                finally.appended.remove(&made.path);
            }
        }
        Some(Break::Zxid) => {
            let mut answers = diaries.iter_mut().flat_map(|d| &mut d.ops).map(|op| &mut op.answer);
            if let Some(Answer::State { zxid, .. }) =
                answers.find(|a| matches!(a, Answer::State { version: 1.., .. }))
            {
                // Behind everything that follows: one more could be a zxid between two others.
                *zxid += 1 << 20;
            }
        }
        Some(Break::ForceSync) | None => {}
    }
}

fn report(suffered: &Suffered, verdict: &Verdict) {
    println!("\n{:<20} {:>6} {:>22}", "fault", "count", "longest until whole");
    for (fault, (count, healing)) in suffered {
        println!("{:<20} {count:>6} {:>20.1} s", format!("{fault:?}"), healing.as_secs_f64());
    }
    println!("{:<20} {:>6}", "all", suffered.values().map(|(count, _)| count).sum::<usize>());
    let Verdict { writes, reads, unknown, refused, appended, ephemerals, sessions, wrong } = verdict;
    println!(
        "\n{writes} writes and {reads} reads answered, {refused} refused, {unknown} without an answer; {appended} nodes \
         appended, {ephemerals} ephemeral, in {sessions} sessions"
    );
    println!(
        "checked: writes linearizable, per-session order, nothing acknowledged lost, watches, ephemeral nodes, trees"
    );
    for wrong in wrong {
        println!("WRONG: {wrong}");
    }
}
