//! What people do and what goes wrong where environments have policies: evidence, yeses, schedules, freezes,
//! labels, objects of others, many objects at once.

use crate::cluster::simulated::Contest;
use crate::model::record::HOLD_LABEL;
use crate::model::{Digest, EvidenceResult, Finding};
use crate::plan::{Person, Promote, Step, Stop};
use crate::registry::ImageConfig;
use crate::sim::draw::{Dice, Place, Shape};
use crate::sim::ledger::{SECRET, Unit};
use crate::sim::policy::{EVIDENCE, Policy};
use crate::sim::script::{Act, Event};
use crate::sim::site::Site;

use super::{People, read, secret};

/// The tag of what hooks run, an image of no application.
pub(in crate::sim) const HOOK: &str = "migrate";

/// Objects beside an application's own.
const MANY: usize = 4;

impl People {
    /// Does what an event says.
    pub(super) async fn more(
        &mut self,
        site: &Site,
        unit: Unit,
        place: &Place,
        event: Event,
        dice: &mut Dice,
    ) {
        let (now, shape) = (site.ledger().now, site.shape.clone());
        let branch = Shape::proposal(place, unit.1);
        match event.act {
            Act::PushPart => self.push_part(site, unit.1),
            Act::AddMany | Act::DropMany => {
                let path = shape.beside(place, unit.1, "many");
                let text = (event.act == Act::AddMany).then(|| many(unit.1));
                self.replace(site, place, &path, text.as_deref());
            }
            Act::AddHook | Act::DropHook => {
                let path = shape.beside(place, unit.1, "hook");
                let moment = if dice.one_in(2) { "before" } else { "after" };
                let text = (event.act == Act::AddHook).then(|| hook(unit.1, moment));
                self.replace(site, place, &path, text.as_deref());
            }
            Act::SpoilSecret | Act::MendSecret => {
                let path = shape.secret(place, unit.1);
                let spoilt = match dice.roll(3) {
                    0 => format!("kind: Secret\nstringData: [{SECRET}\n"),
                    1 => format!("kind: Secret\nstringData:\n token: {SECRET}\n  {SECRET}: *no\n"),
                    _ => format!("stringData: {{ token: {SECRET} }}\n"),
                };
                let text = match event.act {
                    Act::SpoilSecret => spoilt,
                    _ => secret(unit.1),
                };
                if shape.secret {
                    self.replace(site, place, &path, Some(&text));
                }
            }
            Act::Label | Act::Unlabel => {
                if let Some(forge) = site.forge(place) {
                    forge.label(&branch, HOLD_LABEL, event.act == Act::Label);
                }
            }
            Act::Arm => {
                if let Some(forge) = site.forge(place) {
                    forge.approve(&branch, "bob");
                }
            }
            Act::Brake | Act::Unbrake => {
                if let Some(cluster) = site.cluster(place) {
                    let why = (event.act == Act::Brake).then_some("somebody looks into it");
                    cluster.brake(why);
                }
            }
            Act::PutForeign | Act::Contest | Act::TakeField => {
                self.meddle(site, place, event.act, dice);
            }
            Act::RefuseImage => {
                let last = self.released.iter().rfind(|(of, _)| *of == unit.1);
                let digest = last.and_then(|(_, images)| images.values().next().cloned());
                if let (Some(cluster), Some(digest)) = (site.cluster(place), digest) {
                    let why = "the policy takes no such image".to_owned();
                    cluster.temper(|temper| drop(temper.refused.insert(digest, why)));
                }
            }
            Act::SmokeFails => {
                let until = event.step + 1 + dice.roll(6);
                site.wires.smoke_fails(until);
            }
            Act::HookFails => {
                if let Some(cluster) = site.cluster(place) {
                    cluster.behave(|it| it.fail.push(HOOK.to_owned()));
                }
            }
            Act::HookMended => {
                if let Some(cluster) = site.cluster(place) {
                    cluster.behave(|it| it.fail.retain(|told| told != HOOK));
                }
            }
            Act::Prove | Act::Disprove => self.finds(site, unit, event.act, dice).await,
            Act::PromoteLater | Act::ApprovePrune | Act::ApproveAdoption | Act::FreezeShortly => {
                self.says_more(site, unit, event.act, dice, now).await;
            }
            _ => {}
        }
    }

    /// Only the first image of a version is there.
    fn push_part(&mut self, site: &Site, application: &'static str) {
        let repositories = site.shape.repositories(application);
        let [first, _, ..] = repositories.as_slice() else {
            return;
        };
        let tag = self.next_version();
        let digest = Digest::of(format!("part {tag}").as_bytes());
        let image = ImageConfig {
            created: Some(site.ledger().now),
            ..ImageConfig::default()
        };
        if let Ok(repository) = first.parse() {
            site.registry.push(&repository, &tag, digest, image);
        }
    }

    /// Writes a file, or takes it away, unless it is so.
    fn replace(&self, site: &Site, place: &Place, path: &str, text: Option<&str>) {
        if read(site, place, path).as_deref() != text {
            self.writes(site, place, path, text);
        }
    }

    /// Somebody else works on an object.
    fn meddle(&self, site: &Site, place: &Place, act: Act, dice: &mut Dice) {
        let Some(cluster) = site.cluster(place) else {
            return;
        };
        let now = site.ledger().now;
        let names: Vec<_> = cluster.everything(now).into_keys().collect();
        let Some(object) = dice.pick(&names) else {
            return;
        };
        let contest = Contest {
            field: ".spec.replicas".to_owned(),
            by: "an autoscaler".to_owned(),
            rounds: 0,
        };
        match act {
            Act::PutForeign => cluster.put_foreign(object, dice.one_in(3).then_some("helm"), now),
            Act::Contest => {
                cluster.temper(|it| drop(it.contested.insert(object.clone(), contest)));
            }
            _ => cluster.temper(|it| drop(it.held.insert(object.clone(), contest))),
        }
    }

    /// Somebody says what was found out about the newest releases.
    async fn finds(&mut self, site: &Site, unit: Unit, act: Act, dice: &mut Dice) {
        let newest = self.released.iter().rev().filter(|(of, _)| *of == unit.1);
        let newest: Vec<_> = newest.take(1 + dice.roll(3)).collect();
        let Some((_, images)) = dice.pick(&newest) else {
            return;
        };
        let digests: Vec<Digest> = images.values().filter_map(|it| it.parse().ok()).collect();
        for digest in digests {
            let Ok(name) = EVIDENCE.parse() else { return };
            let finding = Finding {
                name,
                result: match act {
                    Act::Prove => EvidenceResult::Pass,
                    _ => EvidenceResult::Fail,
                },
                scores: std::collections::BTreeMap::new(),
                link: None,
            };
            let say = |it: &Person<'_>| it.found(&digest, &finding);
            self.tell(site, unit, act, say, true).await;
        }
    }

    async fn says_more(
        &mut self,
        site: &Site,
        unit: Unit,
        act: Act,
        dice: &mut Dice,
        now: jiff::Timestamp,
    ) {
        let not_before = Policy::later(now, 30 + dice.roll(300));
        let is_unproven = dice.one_in(4);
        let stop = Stop {
            reason: "a moment".to_owned(),
            until: Some(not_before),
        };
        let say = |it: &Person<'_>| -> Result<Step, String> {
            match act {
                Act::ApprovePrune => {
                    let view = it.world.units.get(it.environment);
                    let records =
                        view.and_then(|view| view.infra.read().ok()?.records.as_ref().ok());
                    let newest = records.and_then(|records| records.deployment.as_ref());
                    it.approve_prune(newest.map_or(0, |newest| newest.number))
                }
                Act::ApproveAdoption => it.approve_adoption(),
                Act::FreezeShortly => it.freeze(&stop),
                _ => it.promote(Promote {
                    release: None,
                    reason: "later",
                    unproven: is_unproven,
                    during_freeze: false,
                    hotfix: false,
                    not_before: Some(not_before),
                }),
            }
        };
        self.tell(site, unit, act, say, !dice.one_in(3)).await;
    }
}

/// Several objects beside the application's own.
fn many(application: &str) -> String {
    let object = |index| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {application}-{index}\ndata: {{ key: value }}\n"
        )
    };
    let objects: Vec<String> = (0..MANY).map(object).collect();
    objects.join("---\n")
}

/// A Job that runs before or after the rest.
fn hook(application: &str, moment: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {application}-migrate\n  annotations: {{ towpath.dev/run: {moment} }}\n\
         spec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n        - {{ name: migrate, image: 'registry.example.com/acme/tool:{HOOK}' }}\n"
    )
}
