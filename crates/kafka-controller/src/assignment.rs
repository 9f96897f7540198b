//! Which brokers get the replicas of new partitions (`AdminUtils.assignReplicasToBrokers`).
//!
//! Goals: leaders spread evenly, followers of one leader spread over the others, replicas of a partition on as many
//! racks as possible. Randomness is an argument.

use std::collections::BTreeMap;

use thiserror::Error;

/// A broker that may hold replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerMetadata {
    /// Broker id.
    pub id: i32,
    /// `broker.rack`.
    pub rack: Option<String>,
}

/// What to do when some brokers have a rack and some have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RackAwareMode {
    /// Ignore racks altogether.
    Disabled,
    /// An error (the command line tool).
    Enforced,
    /// Ignore racks in that case (the broker: CreateTopics, auto-create, internal topics).
    Safe,
}

/// Why no assignment can be made. The text is Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AssignmentError {
    /// INVALID_PARTITIONS.
    #[error("Number of partitions must be larger than 0.")]
    NoPartitions,
    /// INVALID_REPLICATION_FACTOR.
    #[error("Replication factor must be larger than 0.")]
    NoReplicas,
    /// INVALID_REPLICATION_FACTOR.
    #[error("Replication factor: {factor} larger than available brokers: {brokers}.")]
    NotEnoughBrokers {
        /// Replicas asked for.
        factor: usize,
        /// Brokers there are.
        brokers: usize,
    },
    /// Mixed racks with [`RackAwareMode::Enforced`].
    #[error(
        "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment without rack information."
    )]
    MixedRacks,
}

impl AssignmentError {
    /// Kafka's error code.
    pub fn error_code(&self) -> i16 {
        match self {
            AssignmentError::NoPartitions => 37,
            AssignmentError::NoReplicas | AssignmentError::NotEnoughBrokers { .. } => 38,
            AssignmentError::MixedRacks => -1,
        }
    }
}

/// Sorts the brokers by id and settles the rack question.
///
/// # Errors
/// [`AssignmentError::MixedRacks`].
pub fn brokers_for(
    mut brokers: Vec<BrokerMetadata>,
    mode: RackAwareMode,
) -> Result<Vec<BrokerMetadata>, AssignmentError> {
    brokers.sort_by_key(|b| b.id);
    let mixed = brokers.iter().any(|b| b.rack.is_some()) && brokers.iter().any(|b| b.rack.is_none());
    if mixed && mode == RackAwareMode::Enforced {
        return Err(AssignmentError::MixedRacks);
    }
    if mixed || mode == RackAwareMode::Disabled {
        brokers.iter_mut().for_each(|b| b.rack = None);
    }
    Ok(brokers)
}

/// Replicas for a new topic: one list a partition, starting with partition 0. `brokers` comes from [`brokers_for`].
///
/// # Errors
/// See [`AssignmentError`].
pub fn assign_replicas(
    brokers: &[BrokerMetadata],
    partitions: usize,
    factor: usize,
    random: &mut fastrand::Rng,
) -> Result<Vec<Vec<i32>>, AssignmentError> {
    check(brokers, partitions, factor)?;
    let (start, shift) = (random.usize(..brokers.len()), random.usize(..brokers.len()));
    Ok(assign(brokers, partitions, factor, start, shift, 0))
}

/// Replicas for partitions added to a topic that has `existing` of them, the first with replicas on
/// `first_partition`. Deterministic: it continues where the topic began.
///
/// # Errors
/// See [`AssignmentError`].
pub fn assign_added_replicas(
    brokers: &[BrokerMetadata],
    first_partition: &[i32],
    existing: usize,
    added: usize,
) -> Result<Vec<Vec<i32>>, AssignmentError> {
    check(brokers, added, first_partition.len())?;
    let first = first_partition.first().copied().unwrap_or(0);
    let start = brokers.iter().position(|b| b.id >= first).unwrap_or(0);
    Ok(assign(brokers, added, first_partition.len(), start, start, existing))
}

fn check(brokers: &[BrokerMetadata], partitions: usize, factor: usize) -> Result<(), AssignmentError> {
    match (partitions, factor) {
        (0, _) => Err(AssignmentError::NoPartitions),
        (_, 0) => Err(AssignmentError::NoReplicas),
        _ if factor > brokers.len() => {
            Err(AssignmentError::NotEnoughBrokers { factor, brokers: brokers.len() })
        }
        _ => Ok(()),
    }
}

fn assign(
    brokers: &[BrokerMetadata],
    partitions: usize,
    factor: usize,
    start: usize,
    mut shift: usize,
    first_id: usize,
) -> Vec<Vec<i32>> {
    let racks = Racks::of(brokers);
    let order = &racks.alternated;
    let mut all = Vec::with_capacity(partitions);
    for partition in first_id..first_id + partitions {
        if partition > 0 && partition % order.len() == 0 {
            shift += 1;
        }
        let first = (partition + start) % order.len();
        all.push(racks.replicas(first, shift, factor));
    }
    all
}

/// The brokers in an order that alternates racks; without racks, by id, each a rack of its own.
struct Racks {
    alternated: Vec<i32>,
    rack_of: BTreeMap<i32, usize>,
    count: usize,
    aware: bool,
}

impl Racks {
    fn of(brokers: &[BrokerMetadata]) -> Racks {
        let aware = brokers.iter().all(|b| b.rack.is_some());
        if !aware {
            let alternated: Vec<i32> = brokers.iter().map(|b| b.id).collect();
            let rack_of = alternated.iter().enumerate().map(|(i, id)| (*id, i)).collect();
            return Racks { count: alternated.len(), alternated, rack_of, aware };
        }
        let mut by_rack: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for broker in brokers {
            by_rack.entry(broker.rack.as_deref().unwrap_or_default()).or_default().push(broker.id);
        }
        let mut alternated = Vec::with_capacity(brokers.len());
        let mut round = 0;
        while alternated.len() < brokers.len() {
            alternated.extend(by_rack.values().filter_map(|ids| ids.get(round)));
            round += 1;
        }
        let rack_of = by_rack
            .values()
            .enumerate()
            .flat_map(|(rack, ids)| ids.iter().map(move |id| (*id, rack)))
            .collect();
        Racks { alternated, rack_of, count: by_rack.len(), aware }
    }

    fn replicas(&self, first: usize, shift: usize, factor: usize) -> Vec<i32> {
        let n = self.alternated.len();
        let mut replicas = vec![self.alternated[first]];
        let mut used_racks = vec![false; self.count];
        used_racks[self.rack_of[&replicas[0]]] = true;
        let shift = if self.aware { shift * self.count } else { shift };
        let mut candidate = 0;
        // Two rounds over the others suffice: the first fills unused racks, the second the rest.
        while replicas.len() < factor {
            debug_assert!(candidate < 3 * n, "every broker comes up in n - 1 candidates");
            let broker = self.alternated[(first + 1 + (shift + candidate) % (n - 1)) % n];
            candidate += 1;
            let rack = self.rack_of[&broker];
            let rack_fits = !used_racks[rack] || used_racks.iter().all(|used| *used);
            if rack_fits && !replicas.contains(&broker) {
                used_racks[rack] = true;
                replicas.push(broker);
            }
        }
        replicas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(racks: &[(i32, Option<&str>)]) -> Vec<BrokerMetadata> {
        racks.iter().map(|(id, rack)| BrokerMetadata { id: *id, rack: rack.map(Into::into) }).collect()
    }

    fn plain(n: i32) -> Vec<BrokerMetadata> {
        (0..n).map(|id| BrokerMetadata { id, rack: None }).collect()
    }

    #[test]
    fn the_documented_example_of_admin_utils() {
        // Five brokers, ten partitions, three replicas, both random values 0: the table in AdminUtils' comment.
        let table = assign(&plain(5), 10, 3, 0, 0, 0);
        assert_eq!(table[..5], [vec![0, 1, 2], vec![1, 2, 3], vec![2, 3, 4], vec![3, 4, 0], vec![4, 0, 1]]);
        assert_eq!(table[5..], [vec![0, 2, 3], vec![1, 3, 4], vec![2, 4, 0], vec![3, 0, 1], vec![4, 1, 2]]);
    }

    #[test]
    fn leaders_are_even_and_replicas_distinct_whatever_the_seed() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..200 {
            let (n, partitions) = (random.usize(1..8), random.usize(1..40));
            let factor = random.usize(1..=n);
            let table = assign_replicas(&plain(n as i32), partitions, factor, &mut random).unwrap();
            let mut leaders = vec![0usize; n];
            for replicas in &table {
                leaders[replicas[0] as usize] += 1;
                let mut sorted = replicas.clone();
                sorted.sort_unstable();
                sorted.dedup();
                assert_eq!(sorted.len(), factor);
            }
            assert!(leaders.iter().max().unwrap() - leaders.iter().min().unwrap() <= 1, "{leaders:?}");
        }
    }

    #[test]
    fn racks_alternate_and_each_partition_spans_as_many_as_it_can() {
        let list = brokers(&[
            (0, Some("rack1")),
            (1, Some("rack3")),
            (2, Some("rack3")),
            (3, Some("rack2")),
            (4, Some("rack2")),
            (5, Some("rack1")),
        ]);
        assert_eq!(Racks::of(&list).alternated, [0, 3, 1, 5, 4, 2], "the example in AdminUtils' comment");
        let mut random = fastrand::Rng::with_seed(5);
        for factor in 1..=6 {
            for replicas in assign_replicas(&list, 24, factor, &mut random).unwrap() {
                let mut racks: Vec<_> = replicas.iter().map(|id| list[*id as usize].rack.clone()).collect();
                racks.sort();
                racks.dedup();
                assert_eq!(racks.len(), factor.min(3));
            }
        }
    }

    #[test]
    fn mixed_racks_depend_on_the_mode_and_limits_are_errors() {
        let mixed = brokers(&[(2, Some("a")), (1, None)]);
        assert_eq!(brokers_for(mixed.clone(), RackAwareMode::Enforced), Err(AssignmentError::MixedRacks));
        assert_eq!(brokers_for(mixed, RackAwareMode::Safe).unwrap(), brokers(&[(1, None), (2, None)]));
        let mut random = fastrand::Rng::with_seed(1);
        assert_eq!(assign_replicas(&plain(2), 0, 1, &mut random).unwrap_err().error_code(), 37);
        assert_eq!(assign_replicas(&plain(2), 1, 3, &mut random).unwrap_err().error_code(), 38);
        assert_eq!(assign_replicas(&[], 1, 1, &mut random).unwrap_err().error_code(), 38);
    }

    #[test]
    fn added_partitions_continue_the_row() {
        let all = assign(&plain(3), 4, 2, 1, 1, 0);
        let added = assign_added_replicas(&plain(3), &all[0], 4, 2).unwrap();
        assert_eq!(added, [vec![2, 1], vec![0, 2]]);
    }
}
