//! What people say with commands.

use super::People;
use crate::model::Author;
use crate::plan::{Person, Promote, Scope, Step, Stop};
use crate::sim::draw::Dice;
use crate::sim::ledger::{Unit, Who};
use crate::sim::policy::Policy;
use crate::sim::script::Act;
use crate::sim::site::Site;

impl People {
    /// What people say with commands, on what they looked at last.
    pub(super) async fn say(&mut self, site: &Site, unit: Unit, act: Act, dice: &mut Dice) {
        let now = site.ledger().now;
        let looks = !dice.one_in(3);
        self.said += 1;
        let reason = format!("word {}", self.said);
        let until = dice
            .one_in(2)
            .then(|| Policy::later(now, 30 + dice.roll(600)));
        let stop = Stop {
            reason: reason.clone(),
            until,
        };
        let known: Vec<String> = {
            let ledger = site.ledger();
            let of = self.released.iter().filter(|(of, _)| *of == unit.1);
            of.map(|(_, images)| ledger.name(images)).collect()
        };
        let named = dice.pick(&known).cloned();
        let named = named.as_deref().filter(|_| !dice.one_in(3));
        let asked = Promote {
            release: named,
            reason: &reason,
            unproven: act == Act::PromoteUnproven,
            during_freeze: dice.one_in(2),
            hotfix: false,
            not_before: None,
        };
        let ann = Author {
            name: "Ann".to_owned(),
            email: "ann@example.com".to_owned(),
        };
        let say = |it: &Person<'_>| -> Result<Step, String> {
            match act {
                Act::Hold => it.hold(Scope::Unit, &stop),
                Act::HoldAll => it.hold(Scope::Environment, &stop),
                Act::Resume => it.resume(Scope::Unit, &reason),
                Act::ResumeAll => it.resume(Scope::Environment, &reason),
                Act::RollBack => it.roll_back(named, &reason),
                Act::Unpin => it.unpin(&reason),
                Act::Freeze => it.freeze(&stop),
                Act::Thaw => it.thaw(&reason),
                Act::Retry => it.retry(None),
                Act::SayDecline => it.decline(),
                Act::Approve => it.merge(None, &ann),
                _ => it.promote(asked),
            }
        };
        self.tell(site, unit, act, say, looks).await;
    }

    /// Says it of a unit, on what was looked at last, or after a look.
    pub(super) async fn tell(
        &self,
        site: &Site,
        unit: Unit,
        act: Act,
        say: impl Fn(&Person<'_>) -> Result<Step, String>,
        looks: bool,
    ) {
        let (now, shape) = (site.ledger().now, &site.shape);
        let name = shape.places.get(unit.0).map_or("", |it| it.name);
        let (Ok(application), Ok(environment)) = (unit.1.parse(), name.parse()) else {
            return;
        };
        if looks {
            let observatory = self.visitor.observatory();
            observatory.read_all(&site.pipelines, now).await;
        }
        let by = "ann@example.com";
        let said = self.visitor.say(&application, &environment, by, say, now);
        if said.await.is_ok() {
            site.ledger().seen.insert(format!("said {act:?}"));
        }
    }

    /// Somebody's machine knows the new configuration.
    pub(in crate::sim) fn learn(&mut self, site: &Site) {
        self.visitor = site.start(Who::Person);
    }
}
