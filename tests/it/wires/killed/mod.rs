//! SIGKILL at every effect, before and after: a Towpath on real git over HTTP, a forge and a control plane is killed
//! by what stands on the wire, the moment its request is there, or the moment the server has answered it. No
//! failpoint stands in the product.

mod eye;
mod place;

use std::fmt::Write as _;

use super::ledger::Found;
use eye::{Effect, When};
use place::{Gate, Place};

/// In the order in which a release brings them.
const EFFECTS: [Effect; 16] = [
    Effect::Write,
    Effect::Apply,
    Effect::Prune,
    Effect::Smoke,
    Effect::Record,
    Effect::Tag,
    Effect::Mark,
    Effect::Propose,
    Effect::Open,
    Effect::Status,
    Effect::Deployment,
    Effect::Notification,
    Effect::Told,
    Effect::Disarm,
    Effect::Close,
    Effect::TakeBack,
];

/// What is killed at where not everything is asked for.
const FEW: [Effect; 1] = [Effect::Open];

/// Where nobody is asked on a forge: a person's command merges.
const BY_COMMAND: [Effect; 1] = [Effect::Merge];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_effect_nothing_is_lost_or_doubled() {
    let all = std::env::var("TOWPATH_WIRES").is_ok_and(|it| it == "all");
    let by_command: &[Effect] = if all { &BY_COMMAND } else { &[] };
    let effects: &[Effect] = if all { &EFFECTS } else { &FEW };
    let (mut table, more) = tokio::join!(
        kill_at(Gate::Request, effects),
        kill_at(Gate::Command, by_command)
    );
    table += &more;
    println!(
        "{:<17} {:<7} {:>6} {:>5} {:>8} {:>10}\n{table}",
        "effect", "killed", "times", "lost", "doubled", "left over"
    );
}

async fn kill_at(gate: Gate, effects: &[Effect]) -> String {
    let mut table = String::new();
    if effects.is_empty() {
        return table;
    }
    let mut place = Place::start(gate).await;
    place.until(0, false).await;
    let mut number = 0;
    let on_cluster = [Effect::Apply, Effect::Prune];
    for effect in effects.iter().copied() {
        if !place.has_cluster && on_cluster.contains(&effect) {
            continue;
        }
        for when in [When::Before, When::After] {
            number += 1;
            match effect {
                Effect::Prune => place.exchange(number).await,
                Effect::Disarm => {
                    place.release(number).await;
                    place.approve(number).await;
                    number += 1;
                }
                _ => {}
            }
            place.trap.arm(effect, when);
            place.release(number).await;
            // Each is checked once everything has come; what is not there by then is told by who waits.
            let killed = place.until(number, effect == Effect::Close).await;
            let found = place.left(number).await;
            writeln!(
                table,
                "{effect:<17} {when:<7} {killed:>6} {:>5} {:>8} {:>10}",
                found.lost.len(),
                found.doubled.len(),
                found.left.len()
            )
            .unwrap();
            println!("{}", table.lines().last().unwrap());
            assert_eq!(killed, 1, "{effect} {when}");
            assert_eq!(found, Found::default(), "{effect} {when}");
        }
    }
    settled(&place, number).await;
    table
}

/// Whoever starts now finds nothing to do.
async fn settled(place: &Place, number: u64) {
    let before = place.refs().await;
    let done = place.trap.done();
    assert_eq!(place.once().await, Some(0));
    assert_eq!(place.refs().await, before);
    assert_eq!(place.trap.done(), done);
    assert_eq!(place.left(number).await, Found::default());
    assert_eq!(place.broken().await, "");
    // Who ends waits for nothing that cannot come any more.
    assert!(!place.log().contains("not everybody was told"));
}
