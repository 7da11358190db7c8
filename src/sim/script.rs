//! What happens in a run and when, drawn from the seed before it begins.

use std::sync::Arc;

use super::draw::{Dice, Shape};
use super::policy::Policy;

/// Sets what is drawn besides apart from what a seed drew before.
const MORE: u64 = 0x7077_a7e5_2026_1122;

/// The same for whether processes share the environments out.
const DIVIDED: u64 = 0x7077_a7e5_2026_1123;

/// Something that happens at a step. What it happens to is told by `dice`, among what is there then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) step: usize,
    pub(super) act: Act,
    pub(super) dice: u64,
}

/// Declares the acts once, so that what happened can be counted by name.
macro_rules! acts {
    (plain: $($weight:literal $name:ident,)* more: $($rarity:literal $other:ident,)*) => {
        /// What happens in a run beside Towpath.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Act { $($name,)* $($other,)* }

        impl Act {
            pub(super) const PLAIN: &[(u32, Act)] = &[$(($weight, Act::$name),)*];
            /// What is drawn apart, and not in plain runs.
            pub(super) const MORE: &[(u32, Act)] = &[$(($rarity, Act::$other),)*];
        }
    };
}

acts! {
    plain:
    12 Push,
    2 PushOlder,
    3 PushBad,
    2 PushHanging,
    5 PushBranch,
    1 MoveTag,
    1 DeleteTag,
    10 Merge,
    3 Squash,
    3 Decline,
    2 Revert,
    2 HandBack,
    1 HandForward,
    1 HandUnknown,
    1 ForceBack,
    1 EditProposal,
    2 EditManifest,
    2 DropService,
    2 AddService,
    1 Hold,
    1 HoldAll,
    3 Resume,
    3 ResumeAll,
    3 RollBack,
    3 Unpin,
    2 Promote,
    1 PromoteUnproven,
    1 Freeze,
    3 Thaw,
    2 Retry,
    1 SayDecline,
    2 Approve,
    1 Drift,
    1 DeleteObject,
    2 KeepObject,
    1 Refuse,
    3 FailBefore,
    3 FailAfter,
    2 DieBefore,
    2 DieAfter,
    2 GoDown,
    2 Stale,
    1 Restart,
    more:
    2 PushPart,
    1 Burst,
    2 AddMany,
    2 DropMany,
    2 AddHook,
    1 DropHook,
    1 SpoilSecret,
    2 MendSecret,
    1 Label,
    2 Unlabel,
    2 Arm,
    1 Brake,
    2 Unbrake,
    1 PutForeign,
    1 Contest,
    1 TakeField,
    1 RefuseImage,
    2 SmokeFails,
    1 HookFails,
    2 HookMended,
    9 Prove,
    1 Disprove,
    2 PromoteLater,
    3 ApprovePrune,
    2 ApproveAdoption,
    1 FreezeShortly,
    2 Reconfigure,
}

/// One of these, by weight.
fn weighed(dice: &mut Dice, weights: &[(u32, Act)]) -> Option<Act> {
    let total: u32 = weights.iter().map(|(weight, _)| weight).sum();
    let mut left = dice.roll(total as usize) as u32;
    let drawn = weights.iter().find(|(weight, _)| {
        let here = left < *weight;
        left = left.saturating_sub(*weight);
        here
    });
    drawn.map(|(_, act)| *act)
}

impl Act {
    /// Whether it is trouble, not somebody's word or work.
    pub(super) fn is_fault(self) -> bool {
        matches!(
            self,
            Self::FailBefore
                | Self::FailAfter
                | Self::DieBefore
                | Self::DieAfter
                | Self::GoDown
                | Self::Stale
                | Self::Restart
        )
    }
}

/// What is tried once a run has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// Nothing.
    None,
    /// A server of one environment goes, and a release comes to all.
    Apart,
    /// A release comes while another one, which never gets ready, is rolled out.
    Overtake,
}

/// A run before it begins.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    pub(super) shape: Arc<Shape>,
    pub(super) script: Vec<Event>,
    /// How many seconds pass before each step.
    pub(super) pauses: Vec<i64>,
    /// What is tried at the end, and what that is drawn from.
    pub(super) probe: (Probe, u64),
}

impl Drawn {
    /// The run of a seed, of so many steps. What came to be drawn later has dice of its own, so that a plain run
    /// stays the same.
    pub(super) fn new(seed: u64, steps: usize, plain: bool) -> Self {
        let mut drawn = Self::plain(seed, steps);
        if !plain {
            drawn.add(&mut Dice::new(seed ^ MORE));
            let divided = Dice::new(seed ^ DIVIDED).one_in(3);
            let shape = Arc::make_mut(&mut drawn.shape);
            shape.divided = divided && shape.clocks.len() > 1;
        }
        drawn
    }

    fn add(&mut self, dice: &mut Dice) {
        let shape = Arc::make_mut(&mut self.shape);
        shape.secret = dice.one_in(3);
        for place in &mut shape.places {
            place.policy = Policy::new(dice);
        }
        let often = 1 + dice.roll(5);
        for step in 0..self.pauses.len() {
            while self.script.len() < 6 * self.pauses.len() && dice.one_in(1 + often) {
                let Some(act) = weighed(dice, Act::MORE) else {
                    continue;
                };
                let event = |step, act, dice| Event { step, act, dice };
                let number = dice.number();
                self.script.push(event(step, act, number));
                if act == Act::Burst {
                    let burst = step..step + 4;
                    let burst = burst.map(|step| event(step, Act::PushHanging, number));
                    self.script.extend(burst);
                }
            }
        }
        self.script.sort_by_key(|event| event.step);
        let probe = match dice.roll(4) {
            0 => Probe::Apart,
            1 => Probe::Overtake,
            _ => Probe::None,
        };
        self.probe = (probe, dice.number());
    }

    fn plain(seed: u64, steps: usize) -> Self {
        let mut dice = Dice::new(seed);
        let shape = Shape::new(&mut dice);
        let faults = *dice.pick(&[0, 0, 1, 2]).unwrap_or(&0);
        let chance = 1 + dice.roll(4);
        let pauses = (0..steps).map(|_| match dice.roll(8) {
            0 => 1 + dice.roll(5),
            1 => 60 + dice.roll(240),
            _ => 5 + dice.roll(40),
        });
        let pauses = pauses.map(|it| it as i64).collect();
        let weights: Vec<(u32, Act)> = Act::PLAIN
            .iter()
            .map(|(weight, act)| match act.is_fault() {
                true => (weight * faults, *act),
                false => (*weight, *act),
            })
            .collect();
        let mut script = Vec::new();
        for step in 0..steps {
            while script.len() < 4 * steps && dice.one_in(1 + chance) {
                if let Some(act) = weighed(&mut dice, &weights) {
                    let dice = dice.number();
                    script.push(Event { step, act, dice });
                }
            }
        }
        Self {
            shape: Arc::new(shape),
            script,
            pauses,
            probe: (Probe::None, 0),
        }
    }
}
