//! How an endpoint is chosen among those that were not tried yet.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::plan::Balance;

/// The longest turn of round robin; larger weights are scaled down to it.
const MAX_TURN: u64 = 4096;

/// A balancing policy with its state.
#[derive(Debug)]
pub(super) enum Balancer {
    /// The fewest live leases for its weight; among equals in turn.
    LeastSessions {
        weights: Vec<u32>,
        next: AtomicUsize,
    },
    /// By chance, in proportion to the weights.
    Random { weights: Vec<u32> },
    /// In the order of `turn`, over and over.
    RoundRobin { turn: Vec<usize>, next: AtomicUsize },
}

impl Balancer {
    pub(super) fn new(balance: Balance, weights: &[u32]) -> Self {
        let weights = weights.to_vec();
        match balance {
            Balance::LeastSessions => Self::LeastSessions {
                weights,
                next: AtomicUsize::new(0),
            },
            Balance::Random => Self::Random { weights },
            Balance::RoundRobin => Self::RoundRobin {
                turn: smooth_turn(&weights),
                next: AtomicUsize::new(0),
            },
        }
    }

    /// The place of the chosen endpoint, which is not among `tried`. `live` tells the leases of one.
    pub(super) fn choose(&self, tried: &[usize], live: impl Fn(usize) -> usize) -> Option<usize> {
        match self {
            Self::RoundRobin { turn, next } => {
                let start = next.fetch_add(1, Ordering::Relaxed);
                (0..turn.len())
                    .map(|step| turn[(start + step) % turn.len()])
                    .find(|at| !tried.contains(at))
            }
            Self::Random { weights } => {
                let open = || (0..weights.len()).filter(|at| !tried.contains(at));
                let total: u64 = open().map(|at| u64::from(weights[at])).sum();
                if total == 0 {
                    return None;
                }
                let mut drawn = fastrand::u64(..total);
                open().find(|&at| {
                    let weight = u64::from(weights[at]);
                    let hit = drawn < weight;
                    drawn = drawn.saturating_sub(weight);
                    hit
                })
            }
            Self::LeastSessions { weights, next } => {
                let count = weights.len();
                let start = next.fetch_add(1, Ordering::Relaxed);
                (0..count)
                    .map(|step| (start + step) % count)
                    .filter(|at| !tried.contains(at))
                    // (live + 1) / weight, compared without dividing.
                    .map(|at| (at, live(at) as u64 + 1, u64::from(weights[at])))
                    .reduce(|best, one| {
                        if one.1 * best.2 < best.1 * one.2 {
                            one
                        } else {
                            best
                        }
                    })
                    .map(|(at, _, _)| at)
            }
        }
    }
}

/// One turn of smooth weighted round robin: each endpoint as often as its weight says, spread
/// evenly.
fn smooth_turn(weights: &[u32]) -> Vec<usize> {
    let divisor = weights
        .iter()
        .copied()
        .fold(0, greatest_common_divisor)
        .max(1);
    let total: u64 = weights
        .iter()
        .map(|&weight| u64::from(weight / divisor))
        .sum();
    let scale = total.div_ceil(MAX_TURN).max(1);
    let weights: Vec<i64> = weights
        .iter()
        .map(|&weight| {
            i64::try_from(u64::from(weight / divisor) / scale)
                .unwrap_or(1)
                .max(1)
        })
        .collect();
    let total: i64 = weights.iter().sum();
    let mut standing = vec![0_i64; weights.len()];
    (0..total)
        .filter_map(|_| {
            for (standing, weight) in standing.iter_mut().zip(&weights) {
                *standing += weight;
            }
            // The first of the highest.
            let at = (0..standing.len()).rev().max_by_key(|&at| standing[at])?;
            standing[at] -= total;
            Some(at)
        })
        .collect()
}

const fn greatest_common_divisor(mut left: u32, mut right: u32) -> u32 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(balancer: &Balancer, count: usize, draws: usize) -> Vec<usize> {
        let mut shares = vec![0; count];
        for _ in 0..draws {
            shares[balancer.choose(&[], |_| 0).unwrap()] += 1;
        }
        shares
    }

    #[test]
    fn round_robin_spreads_the_weights_over_a_turn() {
        assert_eq!(smooth_turn(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(smooth_turn(&[10, 10]), [0, 1]);
        let balancer = Balancer::new(Balance::RoundRobin, &[3, 1]);
        assert_eq!(shares(&balancer, 2, 400), [300, 100]);
    }

    #[test]
    fn what_was_tried_is_not_chosen_again() {
        for balance in [Balance::RoundRobin, Balance::Random, Balance::LeastSessions] {
            let balancer = Balancer::new(balance, &[7, 2, 1]);
            for _ in 0..50 {
                assert_eq!(balancer.choose(&[0, 2], |_| 0), Some(1));
                assert_eq!(balancer.choose(&[0, 1, 2], |_| 0), None);
            }
        }
    }

    #[test]
    fn random_keeps_to_the_weights() {
        let shares = shares(&Balancer::new(Balance::Random, &[3, 1]), 2, 4000);
        assert!((2800..3200).contains(&shares[0]), "{shares:?}");
    }

    #[test]
    fn least_sessions_counts_per_weight() {
        let balancer = Balancer::new(Balance::LeastSessions, &[1, 1, 2]);
        let mut live = [0; 3];
        for _ in 0..400 {
            live[balancer.choose(&[], |at| live[at]).unwrap()] += 1;
        }
        assert_eq!(live, [100, 100, 200]);
    }
}
